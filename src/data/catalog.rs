//! The catalog of data sets by name: where each comes from and how it is split. It caches what it has
//! read.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::{
    Error, ImageSet, Split, Splits, ValidationSize,
    custom::{CustomDatasets, TrainTestSets},
    dataset::Dims,
    fetch::{self, FetchConfig},
    mnist,
    names::mnist_name,
    split,
    synthetic::{self, DigitStream},
};
use crate::ids::DatasetName;

pub use super::names::{MNIST, SYNTHETIC};

/// A data set as a request names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetSpec {
    pub name: DatasetName,
    /// The seed. For `synthetic`, the digits are drawn from it, and none means 0. For every other
    /// data set, the images are shuffled with it before training and validation are split, and none
    /// keeps the order of the file.
    #[serde(default)]
    pub seed: Option<u64>,
    /// The largest number of training images, taken from the front of the training split; none for
    /// all.
    #[serde(default)]
    pub max_train_images: Option<usize>,
}

impl DatasetSpec {
    /// Whether the data set is built in (`mnist` or `synthetic`) rather than a custom one.
    pub fn is_built_in(&self) -> bool {
        [MNIST, SYNTHETIC].contains(&self.name.as_str())
    }

    /// The complete data set of that name, in file order.
    pub fn whole(name: DatasetName) -> Self {
        Self { name, seed: None, max_train_images: None }
    }
}

/// What happens when the files of a data set are in none of the folders.
#[derive(Debug, Clone)]
pub enum FetchPolicy {
    /// Loading fails.
    Never,
    /// The files are downloaded by `fetch::fetch`, into a folder that is searched last.
    WhenMissing(FetchConfig),
}

/// The size of a data set, which a request must fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatasetInfo {
    pub dims: Dims,
    /// The number of images for training and validation together.
    pub images: usize,
}

impl DatasetInfo {
    /// The size of `mnist` and `synthetic`.
    pub const MNIST: Self = Self { dims: Dims::MNIST, images: mnist::TRAIN_IMAGES };

    /// Returns the size of a built-in data set without reading it; none for a custom one.
    pub fn built_in(name: &DatasetName) -> Option<Self> {
        [MNIST, SYNTHETIC].contains(&name.as_str()).then_some(Self::MNIST)
    }

    /// One image in this many is held out for validation if neither the request nor the recipe says
    /// otherwise, as for MNIST.
    pub const VALIDATION_DIVISOR: usize = 6;

    /// Returns the size of a validation split of one image in `divisor`, rounded, and at most 10 000.
    pub fn validation(self, divisor: usize) -> ValidationSize {
        ValidationSize::Count(((self.images + divisor / 2) / divisor).min(10_000))
    }
}

/// The data sets of this machine.
#[derive(Debug)]
pub struct Catalog {
    folders: Vec<PathBuf>,
    fetch: FetchPolicy,
    custom: CustomDatasets,
    /// The images of MNIST that were read already. Each is locked while it is read, so that two
    /// callers do not read it twice.
    train: Mutex<Option<ImageSet>>,
    test: Mutex<Option<ImageSet>>,
}

impl Catalog {
    /// A catalog that looks for files in `folders`, the first folder first. Reads nothing yet.
    pub fn new(mut folders: Vec<PathBuf>, fetch: FetchPolicy) -> Self {
        if let FetchPolicy::WhenMissing(config) = &fetch {
            folders.push(config.directory.clone());
        }
        let custom = CustomDatasets::default();
        Self { folders, fetch, custom, train: Mutex::default(), test: Mutex::default() }
    }

    /// Adds custom data sets, each by the folder that holds it. Reads nothing yet.
    pub fn with_sets(self, folders: BTreeMap<DatasetName, PathBuf>) -> Self {
        Self { custom: CustomDatasets::new(folders), ..self }
    }

    /// The folders that are searched for MNIST, in order.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// The custom data sets of the settings, and their folders.
    pub fn custom(&self) -> &CustomDatasets {
        &self.custom
    }

    /// Returns the size of a data set. Only a custom data set is read for it, with the errors of
    /// `load_split`.
    pub fn info(&self, name: &DatasetName) -> Result<DatasetInfo, Error> {
        if let Some(info) = DatasetInfo::built_in(name) {
            return Ok(info);
        }
        let train = self.read_custom(name)?.train;
        Ok(DatasetInfo { dims: train.dims(), images: train.len() })
    }

    /// Loads all three splits from one reading. Errors as `load_split` does.
    pub fn load(&self, spec: &DatasetSpec, validation: ValidationSize) -> Result<Splits, Error> {
        let [train, validation, test] =
            self.load_parts(spec, validation, [Split::Train, Split::Validation, Split::Test])?;
        Ok(Splits { train, validation, test })
    }

    /// Loads one split; reads or generates no more than it needs.
    ///
    /// Errors when there is no data set of that name, when its files are missing and cannot be
    /// fetched, are broken or are not the real ones, and when the sizes leave nothing to train on.
    pub fn load_split(
        &self,
        spec: &DatasetSpec,
        validation: ValidationSize,
        part: Split,
    ) -> Result<ImageSet, Error> {
        self.load_parts(spec, validation, [part]).map(|[images]| images)
    }

    /// Loads several splits from one reading: no image is in two of them even if the files change
    /// meanwhile. Errors as `load_split` does.
    pub fn load_parts<const N: usize>(
        &self,
        spec: &DatasetSpec,
        validation: ValidationSize,
        parts: [Split; N],
    ) -> Result<[ImageSet; N], Error> {
        let custom = match spec.is_built_in() {
            true => None,
            false => Some(self.read_custom(&spec.name)?),
        };
        let mut loaded = Vec::with_capacity(N);
        for part in parts {
            loaded.push(match &custom {
                Some(of) if part == Split::Test => of.test.clone(),
                Some(of) => split_images(&of.train, spec, validation, part)?,
                None => self.load_built_in(spec, validation, part)?,
            });
        }
        Ok(loaded.try_into().expect("one set was loaded for each part"))
    }

    /// Reads or fetches the files that `load_split` needs for this split, and caches them: after that
    /// `load_split` does not wait. Errors if the files are not available.
    pub fn prepare(&self, spec: &DatasetSpec, part: Split) -> Result<(), Error> {
        match (spec.name.as_str(), part) {
            (MNIST, Split::Train | Split::Validation) => self.mnist(mnist::Subset::Train).map(drop),
            (MNIST, Split::Test) => self.mnist(mnist::Subset::Test).map(drop),
            (SYNTHETIC, _) => Ok(()),
            _ => self.read_custom(&spec.name).map(drop),
        }
    }

    fn load_built_in(
        &self,
        spec: &DatasetSpec,
        validation: ValidationSize,
        part: Split,
    ) -> Result<ImageSet, Error> {
        match (spec.name.as_str(), part) {
            (MNIST, Split::Test) => self.mnist(mnist::Subset::Test),
            (MNIST, _) => {
                // The range is checked before anything is read: an invalid request costs nothing.
                range(mnist::TRAIN_IMAGES, spec, validation, part)?;
                split_images(&self.mnist(mnist::Subset::Train)?, spec, validation, part)
            }
            (_, Split::Test) => {
                Ok(synthetic::draw(spec.seed.unwrap_or(0), DigitStream::Test, 0..synthetic::TEST_IMAGES))
            }
            _ => {
                let range = range(synthetic::TRAIN_IMAGES, spec, validation, part)?;
                Ok(synthetic::draw(spec.seed.unwrap_or(0), DigitStream::Train, range))
            }
        }
    }

    fn read_custom(&self, name: &DatasetName) -> Result<TrainTestSets, Error> {
        self.custom.read(name)?.ok_or_else(|| self.unknown(name))
    }

    fn unknown(&self, name: &DatasetName) -> Error {
        let custom = self.custom.folders().keys().map(DatasetName::as_str);
        let names: Vec<String> =
            [MNIST, SYNTHETIC].into_iter().chain(custom).map(|n| format!("{n:?}")).collect();
        let known = names.join(" or ") + "; the server's setting data.sets adds folders of your own";
        Error::UnknownDataset { name: name.clone(), known }
    }

    fn mnist(&self, part: mnist::Subset) -> Result<ImageSet, Error> {
        let slot = match part {
            mnist::Subset::Train => &self.train,
            mnist::Subset::Test => &self.test,
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

    fn locate(&self, part: mnist::Subset) -> Result<[PathBuf; 2], Error> {
        if let Some(paths) = mnist::locate(part, &self.folders) {
            return Ok(paths);
        }
        let FetchPolicy::WhenMissing(config) = &self.fetch else {
            return Err(unavailable(part, &self.folders, "it is in no folder that was named"));
        };
        match fetch::fetch(config, &part.files(), &mut |_| {}) {
            // A folder that cannot be written counts as none.
            Err(error @ Error::Io { .. }) => Err(unavailable(part, &self.folders, &error.to_string())),
            Err(error) => Err(error),
            Ok(()) => mnist::locate(part, &self.folders)
                .ok_or_else(|| unavailable(part, &self.folders, "it was removed while it was fetched")),
        }
    }
}

/// Returns the images for training or validation, in the order that the seed determines.
fn split_images(
    images: &ImageSet,
    spec: &DatasetSpec,
    validation: ValidationSize,
    part: Split,
) -> Result<ImageSet, Error> {
    let range = range(images.len(), spec, validation, part)?;
    Ok(match spec.seed {
        None => images.slice(range),
        Some(seed) => images.select(&split::dealing_order(images.len(), seed)[range]),
    })
}

/// Returns which of `total` images are for training, or for validation.
fn range(
    total: usize,
    spec: &DatasetSpec,
    validation: ValidationSize,
    part: Split,
) -> Result<Range<usize>, Error> {
    let plan = split::SplitRanges::new(total, validation, spec.max_train_images)?;
    Ok(if part == Split::Validation { plan.validation } else { plan.train })
}

fn unavailable(part: mnist::Subset, folders: &[PathBuf], reason: &str) -> Error {
    let names = part.files().map(mnist::File::packed_name).join(" and ");
    let folders: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    let destination = match folders.is_empty() {
        true => "into a folder named by --data-dir".to_owned(),
        false => format!("into {} or a folder named by --data-dir", folders.join(" or ")),
    };
    let advice = format!(
        "{reason}; run `digitd data fetch`, put {names} {destination}, or use the built-in data set \"{SYNTHETIC}\""
    );
    Error::Unavailable { name: mnist_name(), advice }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mnist() -> DatasetSpec {
        DatasetSpec::whole(mnist_name())
    }

    #[test]
    fn a_data_set_is_read_once_and_cached() {
        let catalog = Catalog::new(Vec::new(), FetchPolicy::Never);
        let dims = crate::data::dataset::Dims::MNIST;
        let cached = ImageSet::new(dims, vec![7; 784], vec![3]).unwrap();
        *catalog.test.lock().unwrap() = Some(cached.clone());
        let loaded = catalog.load_split(&mnist(), ValidationSize::default(), Split::Test).unwrap();
        assert_eq!(loaded.pixels().as_ptr(), cached.pixels().as_ptr());
        catalog.prepare(&mnist(), Split::Test).unwrap();
        let missing = catalog.prepare(&mnist(), Split::Validation);
        assert!(matches!(missing, Err(Error::Unavailable { .. })), "{missing:?}");
    }

    #[test]
    fn an_unwritable_folder_makes_mnist_unavailable() {
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
    fn a_broken_file_is_reported_and_not_fetched_again() {
        let folder = tempfile::tempdir().unwrap();
        for file in mnist::Subset::Test.files() {
            std::fs::write(folder.path().join(file.name()), "cut").unwrap();
        }
        let fetch = FetchPolicy::WhenMissing(FetchConfig::public(folder.path().join("elsewhere")));
        let error = Catalog::new(vec![folder.path().to_owned()], fetch)
            .load_split(&mnist(), ValidationSize::default(), Split::Test)
            .unwrap_err();
        assert!(matches!(error, Error::BrokenFile { .. }), "{error}");
    }
}
