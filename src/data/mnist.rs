//! The four files of MNIST: their names, their paths, and whether they have the right content.
//! Downloads nothing.

use std::path::{Path, PathBuf};

use super::{Error, ImageSet, dataset::Dims, idx};

/// Images for training and validation.
pub const TRAIN_IMAGES: usize = 60_000;

/// Images for testing.
pub const TEST_IMAGES: usize = 10_000;

/// The two pairs of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subset {
    /// 60 000 images, from which training and validation are split.
    Train,
    /// 10 000 images.
    Test,
}

impl Subset {
    /// The file of images and the file of labels.
    pub fn files(self) -> [File; 2] {
        match self {
            Self::Train => [File::TrainImages, File::TrainLabels],
            Self::Test => [File::TestImages, File::TestLabels],
        }
    }
}

/// One of MNIST's four files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum File {
    TrainImages,
    TrainLabels,
    TestImages,
    TestLabels,
}

impl File {
    pub const ALL: [Self; 4] = [Self::TrainImages, Self::TrainLabels, Self::TestImages, Self::TestLabels];

    /// The name of the plain file, as its authors gave it.
    pub fn name(self) -> &'static str {
        match self {
            Self::TrainImages => "train-images-idx3-ubyte",
            Self::TrainLabels => "train-labels-idx1-ubyte",
            Self::TestImages => "t10k-images-idx3-ubyte",
            Self::TestLabels => "t10k-labels-idx1-ubyte",
        }
    }

    /// The name under which mirrors have it, and under which it is stored.
    pub fn packed_name(self) -> String {
        format!("{}.gz", self.name())
    }

    /// SHA-256 of the unpacked content in hexadecimal.
    pub fn sha256(self) -> &'static str {
        match self {
            Self::TrainImages => "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            Self::TrainLabels => "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            Self::TestImages => "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            Self::TestLabels => "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        }
    }

    /// Bytes of the unpacked content.
    pub fn unpacked_bytes(self) -> u64 {
        match self {
            Self::TrainImages => 16 + 784 * TRAIN_IMAGES as u64,
            Self::TrainLabels => 8 + TRAIN_IMAGES as u64,
            Self::TestImages => 16 + 784 * TEST_IMAGES as u64,
            Self::TestLabels => 8 + TEST_IMAGES as u64,
        }
    }

    /// The path of the file in `folder`, under any of its names: with `-idx` or
    /// `.idx`, with `.gz` or without.
    pub fn find(self, folder: &Path) -> Option<PathBuf> {
        let dashed = self.name().to_owned();
        let dotted = dashed.replacen("-idx", ".idx", 1);
        let names = [dashed.clone(), dashed + ".gz", dotted.clone(), dotted + ".gz"];
        names.into_iter().map(|name| folder.join(name)).find(|path| path.is_file())
    }

    /// Errors when the content of the file at `path` is not this one.
    pub fn verify(self, path: &Path) -> Result<(), Error> {
        self.check_digest(path, idx::content_digest(path, self.unpacked_bytes())?)
    }

    fn check_digest(self, path: &Path, found: String) -> Result<(), Error> {
        if found == self.sha256() {
            return Ok(());
        }
        Err(Error::WrongDigest { path: path.to_owned(), expected: self.sha256().to_owned(), found })
    }
}

/// The status of one file.
#[derive(Debug)]
pub enum FileStatus {
    /// The file is in none of the folders.
    Missing,
    /// The file exists and has the right content.
    Good(PathBuf),
    /// The file exists, but is broken or has other content.
    Bad(PathBuf, Error),
}

/// Looks for each of the four files in the folders, the first folder first, and checks its content.
pub fn survey(folders: &[PathBuf]) -> Vec<(File, FileStatus)> {
    let look = |file: File| match folders.iter().find_map(|folder| file.find(folder)) {
        None => FileStatus::Missing,
        Some(path) => match file.verify(&path) {
            Ok(()) => FileStatus::Good(path),
            Err(error) => FileStatus::Bad(path, error),
        },
    };
    File::ALL.into_iter().map(|file| (file, look(file))).collect()
}

/// The files of `part`, from the first folder that has both.
pub fn locate(part: Subset, folders: &[PathBuf]) -> Option<[PathBuf; 2]> {
    let [images, labels] = part.files();
    folders.iter().find_map(|folder| Some([images.find(folder)?, labels.find(folder)?]))
}

/// Reads a pair of files and checks their content.
pub fn read(part: Subset, [images_path, labels_path]: &[PathBuf; 2]) -> Result<ImageSet, Error> {
    let [images_file, labels_file] = part.files();
    let images = idx::read_images(images_path)?;
    images_file.check_digest(images_path, images.sha256.clone())?;
    let labels = idx::read_labels(labels_path, Dims::MNIST.classes)?;
    labels_file.check_digest(labels_path, labels.sha256.clone())?;
    idx::pair(images, images_path, labels, Dims::MNIST.classes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_is_found_under_each_of_its_names() {
        for name in [
            "t10k-labels-idx1-ubyte",
            "t10k-labels-idx1-ubyte.gz",
            "t10k-labels.idx1-ubyte",
            "t10k-labels.idx1-ubyte.gz",
        ] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(name), "").unwrap();
            assert_eq!(File::TestLabels.find(folder.path()), Some(folder.path().join(name)));
            assert_eq!(File::TrainLabels.find(folder.path()), None);
        }
    }

    #[test]
    fn a_survey_distinguishes_missing_from_wrong() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("t10k-labels-idx1-ubyte"), "no labels").unwrap();
        let found = survey(&[folder.path().join("nowhere"), folder.path().to_owned()]);
        let kinds: Vec<_> = found
            .iter()
            .map(|(_, finding)| match finding {
                FileStatus::Missing => "missing",
                FileStatus::Good(_) => "good",
                FileStatus::Bad(_, Error::WrongDigest { .. }) => "wrong",
                FileStatus::Bad(_, error) => panic!("{error}"),
            })
            .collect();
        assert_eq!(kinds, ["missing", "missing", "missing", "wrong"]);
    }

    #[test]
    fn a_pair_is_taken_from_one_folder() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(first.path().join("t10k-labels-idx1-ubyte"), "").unwrap();
        for name in ["t10k-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz"] {
            std::fs::write(second.path().join(name), "").unwrap();
        }
        let folders = [first.path().to_owned(), second.path().to_owned()];
        let [images, labels] = locate(Subset::Test, &folders).unwrap();
        assert!(images.starts_with(second.path()) && labels.starts_with(second.path()));
        assert_eq!(locate(Subset::Train, &folders), None);
    }
}
