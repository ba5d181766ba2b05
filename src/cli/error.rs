//! Why a command did not do what it was asked; `output::problem` shows it.

use std::io;

use super::plot;
use crate::{client, config, data, engine, registry, server, telemetry};

/// The kinds of failures of the command line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Client(#[from] client::Error),
    #[error(transparent)]
    Config(#[from] config::Error),
    #[error(transparent)]
    Telemetry(#[from] telemetry::Error),
    #[error(transparent)]
    Data(#[from] data::Error),
    #[error(transparent)]
    Engine(#[from] engine::Error),
    #[error(transparent)]
    Registry(#[from] registry::Error),
    #[error(transparent)]
    Server(#[from] server::Error),
    #[error(transparent)]
    Plot(#[from] plot::Error),
    /// Flags that are well formed one by one and make no sense together, or a file of the wrong form.
    #[error("{0}")]
    Usage(String),
    #[error("cannot {action} {what}: {source}")]
    Io { action: &'static str, what: String, source: io::Error },
    #[error("{0} broke down; the lines above tell more")]
    Panicked(&'static str),
}

impl Error {
    /// For `map_err`: an I/O failure with what was tried on what.
    pub(super) fn io(action: &'static str, what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { action, what, source }
    }
}
