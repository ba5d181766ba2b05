//! The data sets that there are, by name: where each comes from and how it is split. Keeps what it
//! has read, so that asking again costs nothing.

use std::{
    ops::Range,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::{
    Error, ImageSet, Split, Splits, ValidationSize,
    fetch::{self, FetchConfig},
    mnist, split,
    synthetic::{self, Source},
};
use crate::ids::DatasetName;

/// The name of the real digits.
pub const MNIST: &str = "mnist";

/// The name of the built-in digits.
pub const SYNTHETIC: &str = "synthetic";

/// A data set as a request names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetSpec {
    pub name: DatasetName,
    /// `mnist`: the seed of the shuffle before training and validation are split; none for the
    /// order of the file. `synthetic`: the seed that the digits are drawn from; none is 0.
    #[serde(default)]
    pub seed: Option<u64>,
    /// Most images to train on, taken from the front of the training part; none for all.
    #[serde(default)]
    pub max_train_images: Option<usize>,
}

impl DatasetSpec {
    /// The whole of the data set of that name, in file order.
    pub fn whole(name: DatasetName) -> Self {
        Self { name, seed: None, max_train_images: None }
    }
}

/// What to do about a data set that is in none of the folders.
#[derive(Debug, Clone)]
pub enum FetchPolicy {
    /// Say so.
    Never,
    /// Download it, as `fetch::fetch` does, into a folder that is looked into last.
    WhenMissing(FetchConfig),
}

/// The data sets of this machine.
#[derive(Debug)]
pub struct Catalog {
    folders: Vec<PathBuf>,
    fetch: FetchPolicy,
    /// What was read of MNIST. Locked while it is read, so that two askers do not read it twice.
    train: Mutex<Option<ImageSet>>,
    test: Mutex<Option<ImageSet>>,
}

impl Catalog {
    /// A catalog that looks for files in `folders`, the first folder first. Reads nothing yet.
    pub fn new(mut folders: Vec<PathBuf>, fetch: FetchPolicy) -> Self {
        if let FetchPolicy::WhenMissing(config) = &fetch {
            folders.push(config.directory.clone());
        }
        Self { folders, fetch, train: Mutex::default(), test: Mutex::default() }
    }

    /// The folders that are looked into, in order.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// All three parts. Errors as `load_split` does.
    pub fn load(&self, spec: &DatasetSpec, validation: ValidationSize) -> Result<Splits, Error> {
        Ok(Splits {
            train: self.load_split(spec, validation, Split::Train)?,
            validation: self.load_split(spec, validation, Split::Validation)?,
            test: self.load_split(spec, validation, Split::Test)?,
        })
    }

    /// One part; reads or draws no more than it needs.
    ///
    /// Errors when there is no data set of that name, when its files are missing and not to be had,
    /// broken or not the real ones, and when the sizes leave nothing to train on.
    pub fn load_split(
        &self,
        spec: &DatasetSpec,
        validation: ValidationSize,
        part: Split,
    ) -> Result<ImageSet, Error> {
        let plan = |total| split::Plan::new(total, validation, spec.max_train_images);
        let seed = spec.seed.unwrap_or(0);
        match (spec.name.as_str(), part) {
            (MNIST, Split::Train) => self.dealt(spec, plan(mnist::TRAIN_IMAGES)?.train),
            (MNIST, Split::Validation) => self.dealt(spec, plan(mnist::TRAIN_IMAGES)?.validation),
            (MNIST, Split::Test) => self.mnist(mnist::Part::Test),
            (SYNTHETIC, Split::Train) => {
                Ok(synthetic::draw(seed, Source::Train, plan(synthetic::TRAIN_IMAGES)?.train))
            }
            (SYNTHETIC, Split::Validation) => {
                Ok(synthetic::draw(seed, Source::Train, plan(synthetic::TRAIN_IMAGES)?.validation))
            }
            (SYNTHETIC, Split::Test) => Ok(synthetic::draw(seed, Source::Test, 0..synthetic::TEST_IMAGES)),
            _ => Err(Error::UnknownDataset { name: spec.name.clone() }),
        }
    }

    /// Reads or fetches what `load_split` needs of files for this part, and keeps it: after that
    /// `load_split` waits for nobody. Errors as it does where the files are not to be had.
    pub fn prepare(&self, spec: &DatasetSpec, part: Split) -> Result<(), Error> {
        match (spec.name.as_str(), part) {
            (MNIST, Split::Train | Split::Validation) => self.mnist(mnist::Part::Train).map(drop),
            (MNIST, Split::Test) => self.mnist(mnist::Part::Test).map(drop),
            _ => Ok(()),
        }
    }

    /// A range of MNIST's images for training and validation, in the order that the seed deals them.
    fn dealt(&self, spec: &DatasetSpec, range: Range<usize>) -> Result<ImageSet, Error> {
        let images = self.mnist(mnist::Part::Train)?;
        Ok(match spec.seed {
            None => images.slice(range),
            Some(seed) => images.select(&split::dealing_order(images.len(), seed)[range]),
        })
    }

    fn mnist(&self, part: mnist::Part) -> Result<ImageSet, Error> {
        let slot = match part {
            mnist::Part::Train => &self.train,
            mnist::Part::Test => &self.test,
        };
        // The slot is written in one assignment: a panic of another holder leaves it whole.
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(images) = &*slot {
            return Ok(images.clone());
        }
        let images = mnist::read(part, &self.locate(part)?)?;
        *slot = Some(images.clone());
        Ok(images)
    }

    fn locate(&self, part: mnist::Part) -> Result<[PathBuf; 2], Error> {
        if let Some(paths) = mnist::locate(part, &self.folders) {
            return Ok(paths);
        }
        let FetchPolicy::WhenMissing(config) = &self.fetch else {
            return Err(unavailable(part, &self.folders, "it is in no folder that was named"));
        };
        match fetch::fetch(config, &part.files(), &mut |_| {}) {
            // A folder that cannot be written is as good as none.
            Err(error @ Error::Io { .. }) => Err(unavailable(part, &self.folders, &error.to_string())),
            Err(error) => Err(error),
            Ok(()) => mnist::locate(part, &self.folders)
                .ok_or_else(|| unavailable(part, &self.folders, "it was removed while it was fetched")),
        }
    }
}

fn unavailable(part: mnist::Part, folders: &[PathBuf], reason: &str) -> Error {
    let names = part.files().map(mnist::File::packed_name).join(" and ");
    let folders: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    let place = match folders.is_empty() {
        true => "into a folder named by --data-dir".to_owned(),
        false => format!("into {} or a folder named by --data-dir", folders.join(" or ")),
    };
    let advice = format!(
        "{reason}; run `digitd data fetch`, put {names} {place}, or use the built-in data set \"{SYNTHETIC}\""
    );
    Error::Unavailable { name: mnist_name(), advice }
}

/// The name of MNIST as an identifier.
pub(super) fn mnist_name() -> DatasetName {
    MNIST.parse().expect("\"mnist\" is of the form of a name")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mnist() -> DatasetSpec {
        DatasetSpec::whole(mnist_name())
    }

    #[test]
    fn what_was_read_is_kept() {
        let catalog = Catalog::new(Vec::new(), FetchPolicy::Never);
        let dims = crate::data::dataset::Dims::MNIST;
        let kept = ImageSet::new(dims, vec![7; 784], vec![3]).unwrap();
        *catalog.test.lock().unwrap() = Some(kept.clone());
        let found = catalog.load_split(&mnist(), ValidationSize::default(), Split::Test).unwrap();
        assert_eq!(found.pixels().as_ptr(), kept.pixels().as_ptr());
        catalog.prepare(&mnist(), Split::Test).unwrap();
        let missing = catalog.prepare(&mnist(), Split::Validation);
        assert!(matches!(missing, Err(Error::Unavailable { .. })), "{missing:?}");
    }

    #[test]
    fn a_folder_that_cannot_be_written_makes_mnist_unavailable() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("in the way");
        std::fs::write(&file, "").unwrap();
        let fetch = FetchPolicy::WhenMissing(FetchConfig::public(file.join("folder")));
        let error = Catalog::new(Vec::new(), fetch)
            .load_split(&mnist(), ValidationSize::default(), Split::Train)
            .unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
        assert!(error.to_string().contains("in the way"), "{error}");
    }

    #[test]
    fn a_broken_file_is_told_and_not_fetched_around() {
        let folder = tempfile::tempdir().unwrap();
        for file in mnist::Part::Test.files() {
            std::fs::write(folder.path().join(file.name()), "cut").unwrap();
        }
        let fetch = FetchPolicy::WhenMissing(FetchConfig::public(folder.path().join("elsewhere")));
        let error = Catalog::new(vec![folder.path().to_owned()], fetch)
            .load_split(&mnist(), ValidationSize::default(), Split::Test)
            .unwrap_err();
        assert!(matches!(error, Error::BrokenFile { .. }), "{error}");
    }
}
