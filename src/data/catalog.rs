//! The data sets that there are, by name: where each comes from and how it is split. Keeps what it
//! has read, so that asking again costs nothing.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::{
    Error, ImageSet, Split, Splits, ValidationSize,
    dataset::Dims,
    fetch::{self, FetchConfig},
    mnist,
    registered::{Parts, RegisteredSets},
    split,
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
    /// `synthetic`: the seed that the digits are drawn from; none is 0. Of all others: the seed of the
    /// shuffle before training and validation are split; none for the order of the file.
    #[serde(default)]
    pub seed: Option<u64>,
    /// Most images to train on, taken from the front of the training part; none for all.
    #[serde(default)]
    pub max_train_images: Option<usize>,
}

impl DatasetSpec {
    /// Whether this is MNIST or drawn like it, not a data set of one's own.
    pub fn is_built_in(&self) -> bool {
        [MNIST, SYNTHETIC].contains(&self.name.as_str())
    }

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

/// What a request needs to know of a data set before it makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    pub dims: Dims,
    /// Images for training and validation together.
    pub images: usize,
}

impl Facts {
    /// Of `mnist` and `synthetic`.
    pub const MNIST: Self = Self { dims: Dims::MNIST, images: mnist::TRAIN_IMAGES };

    /// Those of a data set that is built in, for which nothing is read.
    pub fn built_in(name: &DatasetName) -> Option<Self> {
        [MNIST, SYNTHETIC].contains(&name.as_str()).then_some(Self::MNIST)
    }

    /// One image of so many is held out where neither request nor recipe says otherwise, as of MNIST.
    pub const VALIDATION_DIVISOR: usize = 6;

    /// One image of so many, rounded, and at most 10 000.
    pub fn validation(self, divisor: usize) -> ValidationSize {
        ValidationSize::Count(((self.images + divisor / 2) / divisor).min(10_000))
    }
}

/// The data sets of this machine.
#[derive(Debug)]
pub struct Catalog {
    folders: Vec<PathBuf>,
    fetch: FetchPolicy,
    registered: RegisteredSets,
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
        let registered = RegisteredSets::default();
        Self { folders, fetch, registered, train: Mutex::default(), test: Mutex::default() }
    }

    /// The same with data sets of one's own, each the folder that it lies in. Reads nothing yet.
    pub fn with_sets(self, folders: BTreeMap<DatasetName, PathBuf>) -> Self {
        Self { registered: RegisteredSets::new(folders), ..self }
    }

    /// The folders that are looked into, in order.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// The data sets that the settings name, and their folders.
    pub fn registered(&self) -> &RegisteredSets {
        &self.registered
    }

    /// What a request needs to know of a data set. Errors as `load_split` does, for a data set of
    /// one's own; of the others nothing is read.
    pub fn facts(&self, name: &DatasetName) -> Result<Facts, Error> {
        if let Some(facts) = Facts::built_in(name) {
            return Ok(facts);
        }
        let train = self.read_registered(name)?.train;
        Ok(Facts { dims: train.dims(), images: train.len() })
    }

    /// All three parts, of one reading. Errors as `load_split` does.
    pub fn load(&self, spec: &DatasetSpec, validation: ValidationSize) -> Result<Splits, Error> {
        let [train, validation, test] =
            self.load_parts(spec, validation, [Split::Train, Split::Validation, Split::Test])?;
        Ok(Splits { train, validation, test })
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
        self.load_parts(spec, validation, [part]).map(|[images]| images)
    }

    /// Some of the parts, of one reading: no image is in two of them even where the files change
    /// meanwhile. Errors as `load_split` does.
    pub fn load_parts<const N: usize>(
        &self,
        spec: &DatasetSpec,
        validation: ValidationSize,
        parts: [Split; N],
    ) -> Result<[ImageSet; N], Error> {
        let registered = match spec.is_built_in() {
            true => None,
            false => Some(self.read_registered(&spec.name)?),
        };
        let mut loaded = Vec::with_capacity(N);
        for part in parts {
            loaded.push(match &registered {
                Some(of) if part == Split::Test => of.test.clone(),
                Some(of) => dealt(&of.train, spec, validation, part)?,
                None => self.load_built_in(spec, validation, part)?,
            });
        }
        Ok(loaded.try_into().expect("one set was loaded for each part"))
    }

    /// Reads or fetches what `load_split` needs of files for this part, and keeps it: after that
    /// `load_split` waits for nobody. Errors as it does where the files are not to be had.
    pub fn prepare(&self, spec: &DatasetSpec, part: Split) -> Result<(), Error> {
        match (spec.name.as_str(), part) {
            (MNIST, Split::Train | Split::Validation) => self.mnist(mnist::Part::Train).map(drop),
            (MNIST, Split::Test) => self.mnist(mnist::Part::Test).map(drop),
            (SYNTHETIC, _) => Ok(()),
            _ => self.read_registered(&spec.name).map(drop),
        }
    }

    fn load_built_in(
        &self,
        spec: &DatasetSpec,
        validation: ValidationSize,
        part: Split,
    ) -> Result<ImageSet, Error> {
        match (spec.name.as_str(), part) {
            (MNIST, Split::Test) => self.mnist(mnist::Part::Test),
            (MNIST, _) => {
                // Before anything is read: a request that makes no sense costs nothing.
                range(mnist::TRAIN_IMAGES, spec, validation, part)?;
                dealt(&self.mnist(mnist::Part::Train)?, spec, validation, part)
            }
            (_, Split::Test) => {
                Ok(synthetic::draw(spec.seed.unwrap_or(0), Source::Test, 0..synthetic::TEST_IMAGES))
            }
            _ => {
                let range = range(synthetic::TRAIN_IMAGES, spec, validation, part)?;
                Ok(synthetic::draw(spec.seed.unwrap_or(0), Source::Train, range))
            }
        }
    }

    fn read_registered(&self, name: &DatasetName) -> Result<Parts, Error> {
        self.registered.read(name)?.ok_or_else(|| self.unknown(name))
    }

    fn unknown(&self, name: &DatasetName) -> Error {
        let own = self.registered.folders().keys().map(DatasetName::as_str);
        let names: Vec<String> =
            [MNIST, SYNTHETIC].into_iter().chain(own).map(|n| format!("{n:?}")).collect();
        let known = names.join(" or ") + "; the server's setting data.sets adds folders of your own";
        Error::UnknownDataset { name: name.clone(), known }
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

/// The images for training or validation, in the order that the seed deals them.
fn dealt(
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

/// Which of `total` images are for training, or for validation.
fn range(
    total: usize,
    spec: &DatasetSpec,
    validation: ValidationSize,
    part: Split,
) -> Result<Range<usize>, Error> {
    let plan = split::Plan::new(total, validation, spec.max_train_images)?;
    Ok(if part == Split::Validation { plan.validation } else { plan.train })
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
