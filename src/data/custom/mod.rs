//! Custom data sets: folders that the settings name, read on demand and again after their files have
//! changed. What a folder holds is decided by `idx_files` and `image_folder`.

mod fingerprint;
mod idx_files;
mod image_folder;
mod train_test;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::Error;
use crate::ids::DatasetName;

pub use train_test::{MAX_PIXELS, TrainTestSets};

use idx_files::IdxFiles;
use image_folder::ImageFolder;

/// The largest number of custom data sets.
pub const MAX_SETS: usize = 64;

/// The number of data sets whose images stay in memory; the least recently used goes first.
const MAX_CACHED: usize = 4;

/// The folders of custom data sets by name, with a cache of their images.
#[derive(Debug, Default)]
pub struct CustomDatasets {
    folders: BTreeMap<DatasetName, PathBuf>,
    /// The cache, the most recently used last. It is locked while a folder is read, so that two
    /// callers do not read it twice.
    cached: Mutex<Vec<CachedDataset>>,
}

#[derive(Debug)]
struct CachedDataset {
    name: DatasetName,
    listing: Listing,
    parts: TrainTestSets,
}

/// The content of a folder, determined without reading its files: an equal listing means equal
/// images.
#[derive(Debug, PartialEq, Eq)]
enum Listing {
    Idx(IdxFiles),
    Images(ImageFolder),
}

impl CustomDatasets {
    /// Reads nothing yet.
    pub fn new(folders: BTreeMap<DatasetName, PathBuf>) -> Self {
        Self { folders, cached: Mutex::default() }
    }

    /// The folder of each data set, by name.
    pub fn folders(&self) -> &BTreeMap<DatasetName, PathBuf> {
        &self.folders
    }

    /// Returns the images of a data set as its folder holds them now; none if there is no data set of
    /// that name. Errors name the file, and the position in it, that is broken.
    pub fn read(&self, name: &DatasetName) -> Result<Option<TrainTestSets>, Error> {
        let Some(folder) = self.folders.get(name) else { return Ok(None) };
        // After a panic of another holder the entries are complete, if one fewer.
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        let before = cached.iter().position(|entry| entry.name == *name).map(|at| cached.remove(at));
        let listing = Listing::of(folder)?;
        let parts = match before {
            Some(entry) if entry.listing == listing => entry.parts,
            _ => listing.read()?,
        };
        if Listing::of(folder)? != listing {
            let message = "changed while it was read: ask again once its files stay as they are".to_owned();
            return Err(Error::BrokenSet { path: folder.clone(), message });
        }
        cached.push(CachedDataset { name: name.clone(), listing, parts: parts.clone() });
        if cached.len() > MAX_CACHED {
            cached.remove(0);
        }
        Ok(Some(parts))
    }
}

impl Listing {
    fn of(folder: &Path) -> Result<Self, Error> {
        if let Some(files) = IdxFiles::find(folder)? {
            return Ok(Self::Idx(files));
        }
        if let Some(images) = ImageFolder::find(folder)? {
            return Ok(Self::Images(images));
        }
        let message = "holds no data set: put in the four IDX files train-images-idx3-ubyte, \
                       train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, plain or .gz, \
                       or PNG images as train/<label>/*.png and test/<label>/*.png, or as <label>/*.png";
        Err(Error::BrokenSet { path: folder.to_owned(), message: message.to_owned() })
    }

    fn read(&self) -> Result<TrainTestSets, Error> {
        match self {
            Self::Idx(files) => files.read(),
            Self::Images(folder) => folder.read(),
        }
    }
}

#[cfg(test)]
mod tests;
