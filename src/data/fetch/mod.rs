//! Fetching MNIST from public mirrors into a folder. What the files must contain is `mnist`'s to
//! say; how one file comes over the wire is `download`'s, the one file here that opens a socket.

mod download;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use self::download::{Download, Failure};
use super::{
    Error,
    catalog::{SYNTHETIC, mnist_name},
    idx,
    mnist::File,
};

/// Public places that have the four files.
pub const MIRRORS: [&str; 3] = [
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://raw.githubusercontent.com/fgnt/mnist/master/",
];

/// Taken by whoever fetches into a folder, so that two servers do not write the same file.
const LOCK_NAME: &str = ".fetch.lock";

/// Where files are fetched from and how long it may take.
#[derive(Debug, Clone)]
pub struct FetchConfig {
    /// Folder that the files are put into; made where it is missing.
    pub directory: PathBuf,
    /// Base addresses to which a file's name is appended, tried in order. Default `MIRRORS`.
    pub mirrors: Vec<String>,
    /// Longest wait for a connection. Default 10 s.
    pub connect_timeout: Duration,
    /// Longest wait for the next bytes. Default 30 s.
    pub read_timeout: Duration,
    /// Longest time for one file from one mirror. Default 10 min.
    pub file_timeout: Duration,
    /// Most bytes of one file as it comes over the wire. Default 64 MiB.
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
    fn verify(&self, path: &Path) -> Result<(), Error> {
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

/// How far a download has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchProgress<'a> {
    pub file: &'a str,
    pub mirror: &'a str,
    /// Bytes that are there, those of an earlier try among them.
    pub received: u64,
    /// Bytes of the whole file, where the mirror says so.
    pub total: Option<u64>,
}

/// Fetches those of MNIST's `files` that are not in the folder yet, under any of their names.
///
/// Errors when no mirror has a file with the right content (`Unavailable`, with what each of them
/// answered), and when the folder cannot be written.
pub fn fetch(
    config: &FetchConfig,
    files: &[File],
    progress: &mut dyn FnMut(FetchProgress<'_>),
) -> Result<(), Error> {
    let missing = |file: &File| match file.find(&config.directory) {
        None => Ok(true),
        // A broken file under the very name that is fetched is replaced; another name's is not ours.
        Some(path) if path.ends_with(file.packed_name()) => Ok(file.verify(&path).is_err()),
        Some(path) => file.verify(&path).map(|()| false),
    };
    let mut wanted = Vec::new();
    for file in files {
        if missing(file)? {
            wanted.push(RemoteFile::from(*file));
        }
    }
    fetch_files(config, &wanted, progress)
}

/// Fetches `files`, each from the first mirror that gives the right content. A file that is there
/// with the right content is left alone; a partial one (`NAME.part`) is continued.
pub fn fetch_files(
    config: &FetchConfig,
    files: &[RemoteFile],
    progress: &mut dyn FnMut(FetchProgress<'_>),
) -> Result<(), Error> {
    if files.is_empty() {
        return Ok(());
    }
    fs::create_dir_all(&config.directory).map_err(Error::io("make the folder", &config.directory))?;
    let lock_path = config.directory.join(LOCK_NAME);
    let lock = fs::File::create(&lock_path).map_err(Error::io("write", &lock_path))?;
    lock.lock().map_err(Error::io("lock", &lock_path))?;
    files.iter().try_for_each(|file| fetch_file(config, file, progress))
}

fn fetch_file(
    config: &FetchConfig,
    file: &RemoteFile,
    progress: &mut dyn FnMut(FetchProgress<'_>),
) -> Result<(), Error> {
    let target = config.directory.join(&file.name);
    // Another process may have fetched it while this one waited for the lock.
    if target.is_file() && file.verify(&target).is_ok() {
        return Ok(());
    }
    let mut answers = Vec::new();
    for mirror in &config.mirrors {
        match from_mirror(config, file, mirror, progress) {
            Ok(part) => return fs::rename(&part, &target).map_err(Error::io("write", &target)),
            Err(Failure::Mirror(answer)) => answers.push(format!("{mirror} {answer}")),
            Err(Failure::Here(error)) => return Err(error),
        }
    }
    let answers = if answers.is_empty() { "no mirror is set".to_owned() } else { answers.join("; ") };
    let advice = format!(
        "{} could not be fetched ({answers}): put it into {} yourself, name a folder that has it with \
         --data-dir, or use the built-in data set \"{SYNTHETIC}\"",
        file.name,
        config.directory.display()
    );
    Err(Error::Unavailable { name: mnist_name(), advice })
}

/// The path of a whole and verified download that only needs its name.
fn from_mirror(
    config: &FetchConfig,
    file: &RemoteFile,
    mirror: &str,
    progress: &mut dyn FnMut(FetchProgress<'_>),
) -> Result<PathBuf, Failure> {
    let mut download = Download::open(config, file, mirror)?;
    let resumed = download.received() > 0;
    download.run(progress)?;
    match file.verify(download.path()) {
        Ok(()) => return download.keep(),
        // Mirrors pack differently: what an earlier try left may be another one's beginning.
        Err(_) if resumed => download.restart()?,
        Err(error) => return Err(download.discard(&error)),
    }
    download.run(progress)?;
    match file.verify(download.path()) {
        Ok(()) => download.keep(),
        Err(error) => Err(download.discard(&error)),
    }
}
