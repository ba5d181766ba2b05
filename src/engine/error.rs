//! Why the engine did not do what it was asked: one kind for each line of the contract's table.

use crate::{
    data,
    ids::{Alias, DatasetName, ModelName, RunId, Version},
    registry::{self, RequirementResult},
};

/// The kinds a caller can act on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// `field` is the path of the request's field, for instance `optimizer.adam.beta1`; the
    /// message goes on from it.
    #[error("{field} {message}")]
    InvalidField { field: String, message: String },
    #[error("there is no model {:?}: train one, or list the models that there are", .0.as_str())]
    ModelNotFound(ModelName),
    #[error("model {:?} has no version {version}: list its versions", model.as_str())]
    VersionNotFound { model: ModelName, version: Version },
    #[error("model {:?} has no alias {:?}: set it first", model.as_str(), alias.as_str())]
    AliasNotFound { model: ModelName, alias: Alias },
    #[error("there is no run {0}: list the runs that there are")]
    RunNotFound(RunId),
    /// The message lists those that there are.
    #[error("{message}")]
    DatasetNotFound { name: DatasetName, message: String },
    /// Known, but not on this machine and not to be had; the message says how to get it.
    #[error("{message}")]
    DatasetUnavailable { name: Option<DatasetName>, message: String },
    #[error("the queue of {queue} is full: try again in {} ms", retry_after.as_millis())]
    QueueFull { queue: &'static str, retry_after: std::time::Duration },
    #[error("run {run} is training or about to, and one run trains at a time: watch it, cancel it or wait")]
    TrainingBusy { run: RunId },
    /// A run that cannot go on; `reason` is for programs.
    #[error("run {run} cannot be resumed: {message}")]
    NotResumable { run: RunId, reason: &'static str, message: String },
    /// A run whose weights are not to be seen; `reason` is for programs.
    #[error("run {run} has no weights to show: {message}")]
    RunWithoutWeights { run: RunId, reason: &'static str, message: String },
    /// Only the server at which it trains or waits can stop it.
    #[error("run {run} trains or waits at another server of this store: cancel it there")]
    RunElsewhere { run: RunId },
    #[error("the model is being loaded: try again in a second")]
    Loading,
    #[error("the server is going down: try again in a few seconds")]
    Draining,
    #[error("the deadline passed before the answer was computed")]
    DeadlineExceeded,
    #[error("version {version} of {:?} is what an alias points to: move {} first", model.as_str(), .aliases.iter().map(Alias::as_str).collect::<Vec<_>>().join(", "))]
    VersionAliased { model: ModelName, version: Version, aliases: Vec<Alias> },
    #[error("alias {:?} of {:?} has never pointed elsewhere: there is nothing to go back to", alias.as_str(), model.as_str())]
    NothingToRollBack { model: ModelName, alias: Alias },
    #[error("{message}")]
    AliasMoved { model: ModelName, alias: Alias, found: Option<Version>, message: String },
    /// A measured version is not as good as it must be.
    #[error("{}", .0.message)]
    RequirementNotMet(Box<Unmet>),
    /// Stored bytes are not what was stored.
    #[error("{message}")]
    Corrupt { message: String },
    /// What lies in the store was put there by a digitd that is newer, or much older.
    #[error("{message}")]
    UnknownFormat { message: String },
    /// libtorch, the store or the machine failed, or a job panicked. The message names no more
    /// than the part that failed; the details went to the log.
    #[error("{message}")]
    Backend { message: String },
}

/// What was required of a version and measured.
#[derive(Debug, Clone)]
pub struct Unmet {
    pub model: ModelName,
    pub version: Version,
    pub results: Vec<RequirementResult>,
    /// Places in `results` of what does not hold.
    pub failed: Vec<usize>,
    /// Of the images that it was measured on.
    pub digest: String,
    pub message: String,
}

impl Error {
    /// A refused field of a request.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::InvalidField { field: field.into(), message: message.into() }
    }

    /// Tells the log the details, and the caller the part that failed.
    pub(super) fn backend(part: &str, details: impl std::fmt::Display) -> Self {
        tracing::error!(%details, "{part} failed");
        Self::Backend { message: format!("{part} failed: the log has the details") }
    }
}

impl From<registry::Error> for Error {
    fn from(error: registry::Error) -> Self {
        use registry::Error as E;
        let message = error.to_string();
        match error {
            E::ModelNotFound(model) => Self::ModelNotFound(model),
            E::VersionNotFound { model, version } => Self::VersionNotFound { model, version },
            E::AliasNotFound { model, alias } => Self::AliasNotFound { model, alias },
            E::RunNotFound(run) => Self::RunNotFound(run),
            E::VersionAliased { model, version, aliases } => Self::VersionAliased { model, version, aliases },
            E::AliasMoved { model, alias, found } => Self::AliasMoved { model, alias, found, message },
            E::NothingBefore { model, alias } => Self::NothingToRollBack { model, alias },
            E::Corrupt { .. } => Self::Corrupt { message },
            E::UnknownFormat { .. } => Self::UnknownFormat { message },
            E::TooLarge { .. } | E::Location(_) | E::Unwritable { .. } | E::Store { .. } => {
                Self::backend("the store", message)
            }
        }
    }
}

impl From<data::Error> for Error {
    fn from(error: data::Error) -> Self {
        use data::Error as E;
        let message = error.to_string();
        match error {
            E::UnknownDataset { name, .. } => Self::DatasetNotFound { name, message },
            E::Unavailable { name, .. } => Self::DatasetUnavailable { name: Some(name), message },
            E::BrokenFile { .. } | E::BrokenSet { .. } | E::WrongDigest { .. } | E::Io { .. } => {
                Self::DatasetUnavailable { name: None, message }
            }
            E::InvalidSize { field, message } => Self::field(field, message),
            E::UnknownSplit(_) => Self::field("split", "is unknown: use train, validation or test"),
            E::Picture(_) => Self::field("image", message),
        }
    }
}
