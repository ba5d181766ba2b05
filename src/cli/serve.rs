//! `digitd serve`: a server that runs until a signal comes.

use super::{
    embedded_server::EmbeddedServer,
    error::Error,
    exit::ExitStatus,
    signals::{Signals, reload_on_hangup},
    terminal,
};
use crate::{
    config::{self, Flags},
    telemetry,
};

/// Serve gRPC until Ctrl-C or SIGTERM
///
/// Prints one line when it listens: `digitd listening grpc=ADDR http=ADDR`. A signal drains open calls
/// and interrupts the run that trains, with a checkpoint; a second one exits at once. SIGHUP reads the log
/// level again from the file of settings; other settings need a restart.
///
/// A setting comes from its flag, else from its variable DIGITD_SECTION_KEY, else from the file that
/// --config names, else from its default. An unknown key is an error.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  digitd serve --print-config                  show every setting with its key
  digitd serve --store /var/lib/digitd --log-format json
  DIGITD_SERVING_WORKERS=4 digitd serve        the same as --workers 4")]
pub struct ServeArgs {
    /// Print the settings as TOML, with secrets hidden, and exit
    #[arg(long)]
    print_config: bool,

    #[command(flatten)]
    settings: Flags,
}

pub async fn run(args: ServeArgs) -> Result<ExitStatus, Error> {
    let settings = config::load(&args.settings, config::variables())?;
    if args.print_config {
        terminal::print(&settings.to_toml());
        return Ok(ExitStatus::Success);
    }
    telemetry::start(settings.log.format, &settings.log.level)?;
    tokio::spawn(telemetry::report_dropped_lines());
    let mut signals = Signals::new()?;
    let flags = args.settings.clone();
    reload_on_hangup(move || reload(&flags))?;
    let mut server = EmbeddedServer::start(&settings).await?;
    let http = server.http_addr.map_or_else(|| "off".to_owned(), |addr| addr.to_string());
    terminal::print(&format!("digitd listening grpc={} http={http}\n", server.grpc_addr));
    tokio::select! {
        () = signals.next() => {}
        error = server.failed() => return Err(error),
    }
    tracing::info!("shutting down: draining open calls; a second signal exits at once");
    tokio::select! {
        stopped = server.stop() => stopped.map(|()| ExitStatus::Success),
        () = signals.next() => Ok(ExitStatus::Cancelled),
    }
}

/// Reads the settings again, and takes over those that can change while the server runs: the log level.
fn reload(flags: &Flags) {
    let level = config::load(flags, config::variables()).map(|settings| settings.log.level);
    let reloaded = level.map_err(Error::from).and_then(|level| {
        telemetry::set_level(&level)?;
        Ok(level)
    });
    match reloaded {
        Ok(level) => tracing::info!(level, "the log level was read again; other settings need a restart"),
        Err(error) => tracing::warn!(%error, "the settings were not read again"),
    }
}
