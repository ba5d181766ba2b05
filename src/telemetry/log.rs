//! The log of the program: text for people, JSON for machines, always on standard error, so that standard output
//! has only the output of the command.

use std::io;

use serde::{Deserialize, Serialize};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Format of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines of text.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The reason why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "log level {level:?} is not valid ({cause}): use error, warn, info, debug, trace or a list as in info,digitd=debug"
    )]
    Level { level: String, cause: String },
    #[error("a log is running already")]
    Running,
}

/// Starts the log of this process. `level` is a level, or a list of levels by module.
///
/// Errors when the level is not valid, and when a log was started before.
pub fn start(format: LogFormat, level: &str) -> Result<(), Error> {
    let filter = filter(level)?;
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Text => {
            let colour = console::colors_enabled_stderr();
            registry.with(fmt::layer().with_writer(io::stderr).with_ansi(colour)).try_init()
        }
        LogFormat::Json => {
            let layer = fmt::layer().json().flatten_event(true).with_current_span(true).with_span_list(false);
            registry.with(layer.with_writer(io::stderr)).try_init()
        }
    }
    .map_err(|_| Error::Running)
}

fn filter(level: &str) -> Result<EnvFilter, Error> {
    let invalid = |cause: String| Error::Level { level: level.to_owned(), cause };
    // The parser takes a bare word for the name of a module, so that "inof" would silence everything.
    let known = ["off", "error", "warn", "info", "debug", "trace"];
    for part in level.split(',').map(str::trim) {
        let last = part.rsplit('=').next().unwrap_or(part);
        if !known.contains(&last.to_ascii_lowercase().as_str()) {
            return Err(invalid(format!("{last:?} is not a level")));
        }
    }
    EnvFilter::builder().parse(level).map_err(|error| invalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_a_word_or_a_list_by_module() {
        for level in ["info", "WARN", "off", "info,digitd::engine=debug"] {
            filter(level).unwrap();
        }
    }

    #[test]
    fn a_misspelt_level_is_rejected_and_does_not_silence_the_log() {
        for level in ["inof", "", "info,digitd=loud"] {
            let error = filter(level).unwrap_err().to_string();
            assert!(error.contains("use error, warn, info"), "{error}");
        }
    }
}
