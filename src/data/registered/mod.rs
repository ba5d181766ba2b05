//! Data sets of one's own: folders that the settings name, read when they are asked for and read
//! anew once their files have changed. What lies in a folder is told by `idx_files` and `pictures`.

mod idx_files;
mod pictures;
mod stamp;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::{Error, ImageSet};
use crate::ids::DatasetName;

use idx_files::IdxFiles;
use pictures::Pictures;

/// Most data sets that settings may name.
pub const MAX_SETS: usize = 64;

/// Data sets of which the images stay in memory, those that were asked for last.
const KEPT: usize = 4;

/// Most bytes of pixels that a part of a set may have.
pub const MAX_PIXELS: u64 = super::idx::MAX_CONTENT;

/// The images of a folder: those for training and validation, and those for testing.
#[derive(Debug, Clone)]
pub struct Parts {
    pub train: ImageSet,
    pub test: ImageSet,
}

/// The folders by the names of their data sets.
#[derive(Debug, Default)]
pub struct RegisteredSets {
    folders: BTreeMap<DatasetName, PathBuf>,
    /// The last one that was asked for comes last. Locked while a folder is read, so that two
    /// askers do not read it twice.
    kept: Mutex<Vec<Kept>>,
}

#[derive(Debug)]
struct Kept {
    name: DatasetName,
    listing: Listing,
    parts: Parts,
}

/// What lies in a folder, told without reading its files: an equal listing means equal images.
#[derive(Debug, PartialEq, Eq)]
enum Listing {
    Idx(IdxFiles),
    Pictures(Pictures),
}

impl RegisteredSets {
    /// Reads nothing yet.
    pub fn new(folders: BTreeMap<DatasetName, PathBuf>) -> Self {
        Self { folders, kept: Mutex::default() }
    }

    /// The folder of each data set, by name.
    pub fn folders(&self) -> &BTreeMap<DatasetName, PathBuf> {
        &self.folders
    }

    /// The images of a data set as its folder holds them now; none where there is none of that
    /// name. Errors name the file, and the place in it, that is broken.
    pub fn read(&self, name: &DatasetName) -> Result<Option<Parts>, Error> {
        let Some(folder) = self.folders.get(name) else { return Ok(None) };
        // A panic of another holder leaves entries that are whole, if one less.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let before = kept.iter().position(|entry| entry.name == *name).map(|at| kept.remove(at));
        let listing = Listing::of(folder)?;
        let parts = match before {
            Some(entry) if entry.listing == listing => entry.parts,
            _ => listing.read()?,
        };
        if Listing::of(folder)? != listing {
            let message = "changed while it was read: ask again once its files stay as they are".to_owned();
            return Err(Error::BrokenSet { path: folder.clone(), message });
        }
        kept.push(Kept { name: name.clone(), listing, parts: parts.clone() });
        if kept.len() > KEPT {
            kept.remove(0);
        }
        Ok(Some(parts))
    }
}

impl Listing {
    fn of(folder: &Path) -> Result<Self, Error> {
        if let Some(files) = IdxFiles::find(folder)? {
            return Ok(Self::Idx(files));
        }
        if let Some(pictures) = Pictures::find(folder)? {
            return Ok(Self::Pictures(pictures));
        }
        let message = "holds no data set: put in the four IDX files train-images-idx3-ubyte, \
                       train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, plain or .gz, \
                       or PNG pictures as train/<label>/*.png and test/<label>/*.png, or as <label>/*.png";
        Err(Error::BrokenSet { path: folder.to_owned(), message: message.to_owned() })
    }

    fn read(&self) -> Result<Parts, Error> {
        match self {
            Self::Idx(files) => files.read(),
            Self::Pictures(pictures) => pictures.read(),
        }
    }
}

#[cfg(test)]
mod tests;
