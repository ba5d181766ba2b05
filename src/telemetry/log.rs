//! The log of the program: text for people, JSON for machines, always on standard error, so that standard output
//! has only the output of the command.
//!
//! A thread of its own writes the lines. A reader of standard error that stalls never delays the threads that log:
//! the lines that do not fit into the buffer meanwhile are dropped and counted.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io,
    panic::{self, PanicHookInfo},
    sync::{Mutex, OnceLock, PoisonError, mpsc},
    thread,
    time::Duration,
};

use prometheus::{
    IntCounter, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use serde::{Deserialize, Serialize};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, reload, util::SubscriberInitExt};

/// Lines that may wait to be written: some megabytes at most, a few seconds of a busy server.
const BUFFERED_LINES: usize = 8192;

/// How often dropped lines are reported.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// Longest wait until the last lines are written.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(1500);

/// The writer of the log; one for the process, as the log itself.
static WRITER: OnceLock<Writer> = OnceLock::new();

struct Writer {
    /// Ends the thread that writes, when it is dropped.
    thread: Mutex<Option<WorkerGuard>>,
    dropped: ErrorCounter,
    level: reload::Handle<EnvFilter, tracing_subscriber::Registry>,
}

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

/// Starts the log of this process. `level` is a level, or a list of levels by module. Panics are logged from now on,
/// since the standard library's own report of them waits for standard error.
///
/// Errors when the level is not valid, and when a log was started before.
pub fn start(format: LogFormat, level: &str) -> Result<(), Error> {
    let (filter, level) = reload::Layer::new(filter(level)?);
    let (writer, thread) = writer();
    let dropped = writer.error_counter();
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Text => {
            let colour = console::colors_enabled_stderr();
            registry.with(fmt::layer().with_writer(writer).with_ansi(colour)).try_init()
        }
        LogFormat::Json => {
            let layer = fmt::layer().json().flatten_event(true).with_current_span(true).with_span_list(false);
            registry.with(layer.with_writer(writer)).try_init()
        }
    }
    .map_err(|_| Error::Running)?;
    // The subscriber above exists once in a process, and so does this.
    let _ = WRITER.set(Writer { thread: Mutex::new(Some(thread)), dropped, level });
    panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Changes the level of the log. Errors when the level is not valid.
pub fn set_level(level: &str) -> Result<(), Error> {
    let filter = filter(level)?;
    if let Some(writer) = WRITER.get() {
        // The subscriber lives as long as the process, so there is one to change.
        let _ = writer.level.reload(filter);
    }
    Ok(())
}

/// Writes the lines that wait, and ends the thread that writes. A standard error that nobody reads delays this by
/// `CLOSE_TIMEOUT` at most.
pub fn close() {
    let Some(writer) = WRITER.get() else { return };
    let Some(worker) = writer.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
    let (done, closed) = mpsc::channel();
    // Where the lines cannot be written, dropping it prints a message, which blocks or panics where standard output is
    // not read either.
    thread::spawn(move || {
        drop(worker);
        // The receiver may have stopped waiting.
        let _ = done.send(());
    });
    let _ = closed.recv_timeout(CLOSE_TIMEOUT);
}

/// Whether the log was started.
pub fn is_running() -> bool {
    WRITER.get().is_some()
}

/// Logs from time to time how many lines were dropped since the last report. Never returns.
pub async fn report_dropped_lines() {
    let mut reported = 0;
    let mut ticks = tokio::time::interval(REPORT_INTERVAL);
    loop {
        ticks.tick().await;
        let dropped = dropped_lines();
        if dropped > reported {
            let lines = dropped - reported;
            tracing::warn!(lines, "lines of the log were dropped: standard error was not read fast enough");
            reported = dropped;
        }
    }
}

/// Registers the counter of dropped lines, `digitd_log_dropped_lines_total`.
pub fn register_metrics(registry: &Registry) -> Result<(), prometheus::Error> {
    registry.register(Box::new(DroppedLines(new_counter()?)))
}

fn new_counter() -> Result<IntCounter, prometheus::Error> {
    let help = "Lines of the log that were dropped because standard error was not read fast enough.";
    IntCounter::new("digitd_log_dropped_lines_total", help)
}

/// Reads the count when it is scraped. Each scrape has a counter of its own, since two may come at once.
struct DroppedLines(IntCounter);

impl Collector for DroppedLines {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let counter = new_counter().expect("the name is valid, since it was registered");
        counter.inc_by(dropped_lines());
        counter.collect()
    }
}

fn dropped_lines() -> u64 {
    WRITER.get().map_or(0, |writer| writer.dropped.dropped_lines() as u64)
}

fn writer() -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(BUFFERED_LINES)
        .thread_name("log")
        .finish(io::stderr())
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("a panic without words");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    // Captured where RUST_BACKTRACE asks for it.
    let backtrace = Backtrace::capture();
    match backtrace.status() {
        BacktraceStatus::Captured => tracing::error!(place, thread, %backtrace, "panic: {message}"),
        _ => tracing::error!(place, thread, "panic: {message}"),
    }
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
