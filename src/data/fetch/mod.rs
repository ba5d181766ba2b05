//! Fetching MNIST from public mirrors into a folder. The required content is defined by `mnist`; one
//! file is transferred by `download`, the one file here that opens a socket.

mod config;
mod download;

use std::{fs, path::PathBuf};

use self::download::{Download, Failure};
use super::{
    Error,
    mnist::File,
    names::{SYNTHETIC, mnist_name},
};

pub use self::config::{FetchConfig, FetchProgress, MIRRORS, RemoteFile};

/// Locked by the process that fetches into a folder, so that two servers do not write the same file.
const LOCK_NAME: &str = ".fetch.lock";

/// Fetches those of MNIST's `files` that are not in the folder yet, under any of their names.
///
/// Errors when no mirror has a file with the right content (`Unavailable`, with the failure of
/// each), and when the folder cannot be written.
pub fn fetch(
    config: &FetchConfig,
    files: &[File],
    progress: &mut dyn FnMut(FetchProgress<'_>),
) -> Result<(), Error> {
    let missing = |file: &File| match file.find(&config.directory) {
        None => Ok(true),
        // A broken file is replaced only under the name that is fetched.
        Some(path) if path.ends_with(file.packed_name()) => Ok(file.verify(&path).is_err()),
        Some(path) => file.verify(&path).map(|()| false),
    };
    let mut remote_files = Vec::new();
    for file in files {
        if missing(file)? {
            remote_files.push(RemoteFile::from(*file));
        }
    }
    fetch_files(config, &remote_files, progress)
}

/// Fetches `files`, each from the first mirror that has the right content. A file that exists
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
    let mut failures = Vec::new();
    for mirror in &config.mirrors {
        match from_mirror(config, file, mirror, progress) {
            Ok(part) => return fs::rename(&part, &target).map_err(Error::io("write", &target)),
            Err(Failure::Mirror(failure)) => failures.push(format!("{mirror} {failure}")),
            Err(Failure::Here(error)) => return Err(error),
        }
    }
    let failures = if failures.is_empty() { "no mirror is set".to_owned() } else { failures.join("; ") };
    let advice = format!(
        "{} could not be fetched ({failures}): put it into {} yourself, name a folder that has it with \
         --data-dir, or use the built-in data set \"{SYNTHETIC}\"",
        file.name,
        config.directory.display()
    );
    Err(Error::Unavailable { name: mnist_name(), advice })
}

/// The path of a complete and verified download that only has to be renamed.
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
        // Mirrors compress differently: the partial file of an earlier attempt may be of another mirror.
        Err(_) if resumed => download.restart()?,
        Err(error) => return Err(download.discard(&error)),
    }
    download.run(progress)?;
    match file.verify(download.path()) {
        Ok(()) => download.keep(),
        Err(error) => Err(download.discard(&error)),
    }
}
