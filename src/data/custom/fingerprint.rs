//! The metadata of a file that change whenever it is written, and the entries
//! of a folder, bounded. Reads no content.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::Error;

/// A file as it was when it was examined: a file that was written to since has another fingerprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    pub path: PathBuf,
    pub bytes: u64,
    inode: u64,
    /// Seconds and nanoseconds of the last change, of content or of anything else. Not the time of
    /// modification alone, which programs that unpack or copy may set to an earlier time.
    changed: (i64, i64),
    modified: (i64, i64),
}

impl Fingerprint {
    /// Examines a file; links are followed. Errors if it is no regular file: a
    /// pipe or a device might never end.
    pub fn of(path: PathBuf) -> Result<Self, Error> {
        let about = fs::metadata(&path).map_err(Error::io("read", &path))?;
        if !about.is_file() {
            return Err(Error::io("read", &path)(io::Error::other("it is not a file")));
        }
        Ok(Self {
            bytes: about.len(),
            inode: about.ino(),
            changed: (about.ctime(), about.ctime_nsec()),
            modified: (about.mtime(), about.mtime_nsec()),
            path,
        })
    }
}

/// The entries of a folder by name, those that begin with a dot left out. Errors beyond `most`.
pub fn entries(folder: &Path, most: usize) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if found.len() == most {
            let message = format!("has more than {most} entries, which is no data set");
            return Err(Error::BrokenSet { path: folder.to_owned(), message });
        }
        found.push(entry.path());
    }
    found.sort_unstable();
    Ok(found)
}
