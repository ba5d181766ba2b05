//! What is fetched, from where, and within which limits.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::data::{Error, idx, mnist::File};

/// Public mirrors of the four files.
pub const MIRRORS: [&str; 3] = [
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://raw.githubusercontent.com/fgnt/mnist/master/",
];

/// The mirrors, the folder, and the limits of a download.
#[derive(Debug, Clone)]
pub struct FetchConfig {
    /// The folder for the files, which is created if it is missing.
    pub directory: PathBuf,
    /// Base addresses to which a file's name is appended, tried in order. Default `MIRRORS`.
    pub mirrors: Vec<String>,
    /// Longest wait for a connection. Default 10 s.
    pub connect_timeout: Duration,
    /// Longest wait for the next bytes. Default 30 s.
    pub read_timeout: Duration,
    /// Longest time for one file from one mirror. Default 10 min.
    pub file_timeout: Duration,
    /// Size limit of one file in bytes, as it is transferred. Default 64 MiB.
    pub max_bytes: u64,
}

impl FetchConfig {
    /// The public mirrors and the default limits.
    pub fn public(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            mirrors: MIRRORS.map(str::to_owned).to_vec(),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            file_timeout: Duration::from_secs(600),
            max_bytes: 64 << 20,
        }
    }
}

/// A file that a mirror has, plain or gzip, and what it must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// Its name on the mirror and in the folder.
    pub name: String,
    /// SHA-256 of the unpacked content in hexadecimal.
    pub sha256: String,
    /// Bytes of the unpacked content.
    pub unpacked_bytes: u64,
}

impl RemoteFile {
    /// Errors when the file at `path` holds something else.
    pub(super) fn verify(&self, path: &Path) -> Result<(), Error> {
        let found = idx::content_digest(path, self.unpacked_bytes)?;
        if found == self.sha256 {
            return Ok(());
        }
        Err(Error::WrongDigest { path: path.to_owned(), expected: self.sha256.clone(), found })
    }
}

impl From<File> for RemoteFile {
    fn from(file: File) -> Self {
        Self {
            name: file.packed_name(),
            sha256: file.sha256().to_owned(),
            unpacked_bytes: file.unpacked_bytes(),
        }
    }
}

/// The progress of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchProgress<'a> {
    pub file: &'a str,
    pub mirror: &'a str,
    /// The number of bytes received, those of an earlier attempt included.
    pub received: u64,
    /// Bytes of the whole file, where the mirror says so.
    pub total: Option<u64>,
}
