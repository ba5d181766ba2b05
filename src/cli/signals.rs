//! The signals of a command: SIGINT, SIGTERM and SIGQUIT, which mean the same to every command, and those that a server
//! does not end by.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::error::Error;

/// The signals that end a command, one after another.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    quit: Signal,
}

impl Signals {
    /// Takes over the signals, which no longer end the process.
    pub fn new() -> Result<Self, Error> {
        let listen = |kind| signal(kind).map_err(Error::io("listen for", "signals"));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            quit: listen(SignalKind::quit())?,
        })
    }

    /// Waits for the next of them.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.quit.recv() => {}
        }
    }
}

/// Calls `reload` for every SIGHUP, and ignores SIGUSR1 and SIGUSR2. By default each of them would end the process at
/// once, without a checkpoint. Ends with the runtime.
pub fn reload_on_hangup(reload: impl Fn() + Send + 'static) -> Result<(), Error> {
    let listen = |kind| signal(kind).map_err(Error::io("listen for", "signals"));
    let mut hangup = listen(SignalKind::hangup())?;
    let mut ignored = [listen(SignalKind::user_defined1())?, listen(SignalKind::user_defined2())?];
    tokio::spawn(async move {
        let [first, second] = &mut ignored;
        loop {
            tokio::select! {
                _ = hangup.recv() => reload(),
                _ = first.recv() => tracing::info!("SIGUSR1 means nothing to this program"),
                _ = second.recv() => tracing::info!("SIGUSR2 means nothing to this program"),
            }
        }
    });
    Ok(())
}
