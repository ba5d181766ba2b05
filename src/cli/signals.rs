//! SIGINT and SIGTERM, which mean the same to every command.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::error::Error;

/// Both signals, one after another.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Takes over both signals, which no longer end the process.
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
