//! `digitd serve`: a server until a signal comes.

use tokio::signal::unix::{SignalKind, signal};

use super::{Error, Outcome, host::Host};
use crate::{
    config::{self, Flags},
    telemetry,
};

/// Serve gRPC until Ctrl-C or SIGTERM
///
/// Prints one line when it listens: `digitd listening grpc=ADDR http=ADDR`. A signal lets open calls
/// end and keeps a checkpoint of the run that trains; a second one ends at once.
///
/// A setting is taken from its flag, else from its variable DIGITD_SECTION_KEY, else from the file
/// that --config names, else from its default. An unknown key stops the start.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  digitd serve --print-config                  show every setting with its key
  digitd serve --store /var/lib/digitd --log-format json
  DIGITD_SERVING_WORKERS=4 digitd serve        the same as --workers 4")]
pub struct Args {
    /// Print the settings as TOML, secrets hidden, and end
    #[arg(long)]
    print_config: bool,

    #[command(flatten)]
    settings: Flags,
}

pub async fn run(args: Args) -> Result<Outcome, Error> {
    let settings = config::load(&args.settings, config::variables())?;
    if args.print_config {
        super::print(&settings.to_toml());
        return Ok(Outcome::Done);
    }
    telemetry::start(settings.log.format, &settings.log.level)?;
    let mut signals = Signals::new()?;
    let mut host = Host::start(&settings).await?;
    let http = host.http_addr.map_or_else(|| "off".to_owned(), |addr| addr.to_string());
    super::print(&format!("digitd listening grpc={} http={http}\n", host.grpc_addr));
    tokio::select! {
        () = signals.next() => {}
        error = host.ended() => return Err(error),
    }
    tracing::info!("stopping: open calls may end; a second signal ends at once");
    tokio::select! {
        stopped = host.stop() => stopped.map(|()| Outcome::Done),
        () = signals.next() => Ok(Outcome::Cancelled),
    }
}

/// SIGINT and SIGTERM, which mean the same here.
pub struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    /// From now on the two signals no longer end the process.
    pub fn new() -> Result<Self, Error> {
        let listen = |kind| signal(kind).map_err(Error::io("listen for", "signals"));
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Waits for the next of either.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
