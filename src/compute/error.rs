//! Why a request was not carried out: one kind for each line of the contract's table of errors.

use super::panic::panic_message;
use crate::{
    data,
    ids::{Alias, DatasetName, FieldError, ModelName, RunId, Version},
    inspect,
    registry::{self, RequirementResult},
    train,
};

/// The kinds a caller can act on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    InvalidField(#[from] FieldError),
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
    /// A run that cannot continue; `reason` is for programs.
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
    #[error("the deadline passed before the result was computed")]
    DeadlineExceeded,
    #[error("version {version} of {:?} is what an alias points to: move {} first", model.as_str(), .aliases.iter().map(Alias::as_str).collect::<Vec<_>>().join(", "))]
    VersionAliased { model: ModelName, version: Version, aliases: Vec<Alias> },
    #[error("alias {:?} of {:?} has never pointed elsewhere: there is nothing to go back to", alias.as_str(), model.as_str())]
    NothingToRollBack { model: ModelName, alias: Alias },
    #[error("{message}")]
    AliasMoved { model: ModelName, alias: Alias, found: Option<Version>, message: String },
    /// A measured version is not as good as it must be.
    #[error("{}", .0.message)]
    RequirementNotMet(Box<FailedRequirements>),
    /// Stored bytes are not what was stored.
    #[error("{message}")]
    Corrupt { message: String },
    /// What lies in the store was put there by a digitd that is newer, or much older.
    #[error("{message}")]
    UnknownFormat { message: String },
    /// A job needed more memory than its device has free; the log has the details.
    #[error("{part} ran out of memory: ask for a smaller batch, or free memory on the device")]
    OutOfMemory { part: &'static str },
    /// libtorch, the store or the machine failed, or a job panicked. The message names no more
    /// than the part that failed; the details went to the log.
    #[error("{message}")]
    Backend { message: String },
}

/// What was required of a version and measured.
#[derive(Debug, Clone)]
pub struct FailedRequirements {
    pub model: ModelName,
    pub version: Version,
    pub results: Vec<RequirementResult>,
    /// The indices in `results` of the requirements that are not met.
    pub failed: Vec<usize>,
    /// SHA-256 of the images that it was measured on.
    pub digest: String,
    pub message: String,
}

impl Error {
    /// A refused field of a request.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::InvalidField(FieldError::new(field, message.into()))
    }

    /// The meaning of a job's panic: memory that ran out is the caller's to know, all else is a failure
    /// inside. The log gets the details.
    pub fn panicked(part: &'static str, panic: &(dyn std::any::Any + Send)) -> Self {
        let details = panic_message(panic);
        if is_out_of_memory(details) {
            tracing::warn!(details, "{part} ran out of memory");
            return Self::OutOfMemory { part };
        }
        Self::backend(part, details)
    }

    /// A run that has not ended, where one that has is needed.
    pub fn run_not_ended(run: RunId) -> Self {
        Self::not_resumable(run, "RUN_NOT_ENDED", "it has not ended: watch it, or cancel it first")
    }

    /// A run that cannot be resumed; `reason` is for programs.
    pub fn not_resumable(run: RunId, reason: &'static str, message: &str) -> Self {
        Self::NotResumable { run, reason, message: message.to_owned() }
    }

    /// Logs the details, and names the part that failed to the caller.
    pub fn backend(part: &str, details: impl std::fmt::Display) -> Self {
        tracing::error!(%details, "{part} failed");
        Self::Backend { message: format!("{part} failed: the log has the details") }
    }
}

/// Whether libtorch failed for want of memory: its own allocators, and those of the libraries below it.
fn is_out_of_memory(details: &str) -> bool {
    const TEXTS: [&str; 4] =
        ["out of memory", "can't allocate memory", "STATUS_ALLOC_FAILED", "ALLOCATION_FAILED"];
    TEXTS.iter().any(|text| details.contains(text))
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

impl From<train::Error> for Error {
    fn from(error: train::Error) -> Self {
        match error {
            train::Error::Invalid(invalid) => invalid.into(),
            train::Error::Data(error) => error.into(),
            train::Error::Checkpoint(message) => Self::Backend { message },
            train::Error::State(_) => Self::Corrupt { message: error.to_string() },
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
            E::InvalidSize(error) => error.into(),
            E::UnknownSplit(_) => Self::field("split", "is unknown: use train, validation or test"),
            E::Image(_) => Self::field("image", message),
        }
    }
}

impl From<inspect::Error> for Error {
    fn from(error: inspect::Error) -> Self {
        use inspect::Error as E;
        let message = error.to_string();
        match error {
            E::UnknownLayer { .. } => Self::field("layers", format!("are wrong: {message}")),
            E::TooMuch { .. } => Self::field("channels", format!("are too many: {message}")),
            E::UnknownChannel { .. } => Self::field("channels", format!("are wrong: {message}")),
            E::ImageSize { actual, expected } => {
                Self::field("image", format!("has {actual} pixels: use {expected}"))
            }
            E::UnknownClass { class, classes } => {
                Self::field("target_class", format!("is {class}: use 0 to {}", classes - 1))
            }
            E::Occlusion(error) => error.prefixed("occlusion").into(),
            E::Drawing(details) => Self::backend("drawing", details),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_ran_out_is_distinguished_from_other_failures() {
        // As libtorch 2.11 words them, within what `unwrap` makes of it.
        for text in [
            "Torch(\"CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of ...\")",
            "Torch(\"CUDA error: out of memory\\nCUDA kernel errors might be ...\")",
            "Torch(\"cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED\")",
            "Torch(\"CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`\")",
            "Torch(\"[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: \
             you tried to allocate 192937984000 bytes. Error code 12 (Cannot allocate memory)\")",
        ] {
            let error = Error::panicked("training", &text.to_owned());
            assert!(matches!(error, Error::OutOfMemory { part: "training" }), "{text}: {error:?}");
        }
        let other = Error::panicked("training", &"index out of bounds");
        assert_eq!(other.to_string(), "training failed: the log has the details");
    }
}
