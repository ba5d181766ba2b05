//! The errors of data sets, by the kinds that a caller can act on.

use std::path::PathBuf;

use super::{idx::FormatError, image};
use crate::ids::{DatasetName, FieldError};

/// The reason why data cannot be loaded; every message names the cause and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `known` lists the names that there are.
    #[error("there is no data set {:?}: use {known}", name.as_str())]
    UnknownDataset { name: DatasetName, known: String },
    /// The data set is known, but not on this machine and not available elsewhere.
    #[error("data set {} is not on this machine: {advice}", name.as_str())]
    Unavailable { name: DatasetName, advice: String },
    #[error("{}", problem.describe(path))]
    BrokenFile { path: PathBuf, problem: FormatError },
    /// The folder of a custom data set, or a file in it, that is invalid; the message continues from it.
    #[error("{} {message}", path.display())]
    BrokenSet { path: PathBuf, message: String },
    #[error(
        "{} is not the MNIST file of that name (SHA-256 of its unpacked content is {found}, not {expected}): \
         remove it and fetch it again with `digitd data fetch`",
        path.display()
    )]
    WrongDigest { path: PathBuf, expected: String, found: String },
    /// A number of a request that no data set can satisfy.
    #[error("{0}")]
    InvalidSize(FieldError),
    #[error("there is no split {0:?}: use train, validation or test")]
    UnknownSplit(String),
    #[error(transparent)]
    Image(#[from] image::Error),
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
}

impl Error {
    pub(super) fn broken(path: impl Into<PathBuf>, problem: FormatError) -> Self {
        Self::BrokenFile { path: path.into(), problem }
    }

    /// For `map_err`: an I/O failure with what was tried on which file.
    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
