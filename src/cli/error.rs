//! The errors of commands; `report` makes the text that shows them.

use std::io;

use crate::{config, data, engine, registry, report::plot, server, telemetry};

/// The kinds of failures of the command line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Client(#[from] digitd_client::Error),
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
    /// Flags that contradict each other, or a file of the wrong form.
    #[error("{0}")]
    Usage(String),
    #[error("cannot {action} {what}: {source}")]
    Io { action: &'static str, what: String, source: io::Error },
    #[error("{0} panicked; the lines above have the details")]
    Panicked(&'static str),
}

impl Error {
    /// An I/O error with the action and its object, for `map_err`.
    pub(super) fn io(action: &'static str, what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { action, what, source }
    }
}
