//! A data set as four IDX files in a folder, named as MNIST's or EMNIST's are. IDX files are read by
//! `idx`.

use std::path::{Path, PathBuf};

use super::{
    fingerprint::{Fingerprint, entries},
    train_test::TrainTestSets,
};
use crate::data::{
    Error,
    dataset::CLASSES,
    idx::{self, FormatError},
};

/// Largest number of entries of a folder that are searched for files.
const MAX_ENTRIES: usize = 10_000;

/// The names of the four files, in the order of `IdxFiles`: the ends of the names once `.gz` is
/// removed and `.idx` is written as `-idx`.
const ENDINGS: [&[&str]; 4] = [
    &["train-images-idx3-ubyte"],
    &["train-labels-idx1-ubyte"],
    &["t10k-images-idx3-ubyte", "test-images-idx3-ubyte"],
    &["t10k-labels-idx1-ubyte", "test-labels-idx1-ubyte"],
];

/// The four files: images and labels for training, images and labels for testing.
#[derive(Debug, PartialEq, Eq)]
pub struct IdxFiles([Fingerprint; 4]);

impl IdxFiles {
    /// The four files of a folder; `None` if it has none of them. Errors if it has only some of them, or
    /// two of one kind, which would be ambiguous.
    pub fn find(folder: &Path) -> Result<Option<Self>, Error> {
        let mut found: [Vec<PathBuf>; 4] = Default::default();
        for path in entries(folder, MAX_ENTRIES)? {
            let role = path.file_name().and_then(|name| name.to_str()).and_then(role_of);
            if let Some(role) = role {
                found[role].push(path);
            }
        }
        if found.iter().all(Vec::is_empty) {
            return Ok(None);
        }
        let broken = |message| Err(Error::BrokenSet { path: folder.to_owned(), message });
        for (role, paths) in found.iter().enumerate() {
            match &paths[..] {
                [_] => {}
                [] => return broken(format!("lacks the file {}, plain or .gz", ENDINGS[role].join(" or "))),
                [one, two, ..] => {
                    let (one, two) = (one.display(), two.display());
                    return broken(format!("has both {one} and {two}: remove the one that is not meant"));
                }
            }
        }
        let [a, b, c, d] = found.map(|mut paths| Fingerprint::of(paths.remove(0)));
        Ok(Some(Self([a?, b?, c?, d?])))
    }

    /// Reads all four. The classes are 0 to the largest label for training; not every one of them
    /// needs images, since some sets count their labels from 1.
    pub fn read(&self) -> Result<TrainTestSets, Error> {
        let [train_images, train_labels, test_images, test_labels] =
            [0, 1, 2, 3].map(|at| self.0[at].path.as_path());
        let labels = idx::read_labels(train_labels, *CLASSES.end())?;
        let classes = labels.labels.iter().max().map_or(0, |&label| usize::from(label) + 1);
        if classes < *CLASSES.start() {
            let message = "has the label 0 alone, from byte 8 on: a data set has 2 to 100 classes".to_owned();
            return Err(Error::BrokenSet { path: train_labels.to_owned(), message });
        }
        let train = idx::pair(idx::read_images(train_images)?, train_images, labels, classes)?;
        let images = idx::read_images(test_images)?;
        if (images.height, images.width) != (train.height(), train.width()) {
            let problem = FormatError::OtherSize {
                found: (images.height, images.width),
                expected: (train.height(), train.width()),
            };
            return Err(Error::broken(test_images, problem));
        }
        let test = idx::pair(images, test_images, idx::read_labels(test_labels, classes)?, classes)?;
        Ok(TrainTestSets { train, test })
    }
}

/// Returns which of the four files has this name.
fn role_of(name: &str) -> Option<usize> {
    let name = name.strip_suffix(".gz").unwrap_or(name).replacen(".idx", "-idx", 1);
    let is_it = |ending: &&str| {
        // EMNIST has a prefix before a separator: `emnist-letters-train-images-idx3-ubyte`.
        name.strip_suffix(*ending).is_some_and(|before| before.is_empty() || before.ends_with(['-', '_']))
    };
    ENDINGS.iter().position(|endings| endings.iter().any(&is_it))
}
