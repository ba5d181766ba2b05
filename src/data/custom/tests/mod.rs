//! Folders of custom data sets: small ones that are read, and hostile ones.

mod image_folder;

use std::fs;

use super::*;
use crate::data::ImageSet;
use crate::data::{
    dataset::Dims,
    idx::{encode_images, encode_labels},
};

const DIMS: Dims = Dims { height: 3, width: 2, classes: 3 };

/// `count` images; image i has the class i mod 3 and the value i at every pixel.
fn images(count: u8) -> ImageSet {
    let pixels = (0..count).flat_map(|at| [at; 6]).collect();
    ImageSet::new(DIMS, pixels, (0..count).map(|at| at % 3).collect()).unwrap()
}

fn write_idx(folder: &Path, train: &ImageSet, test: &ImageSet) {
    for (name, set) in [("train", train), ("t10k", test)] {
        fs::write(folder.join(format!("{name}-images-idx3-ubyte")), encode_images(set)).unwrap();
        fs::write(folder.join(format!("{name}-labels-idx1-ubyte")), encode_labels(set)).unwrap();
    }
}

/// The data set `own` in a folder that `change` was applied to.
fn custom(change: impl FnOnce(&Path)) -> (tempfile::TempDir, CustomDatasets) {
    let folder = tempfile::tempdir().unwrap();
    write_idx(folder.path(), &images(9), &images(3));
    change(folder.path());
    let sets = CustomDatasets::new([(name(), folder.path().to_owned())].into());
    (folder, sets)
}

fn name() -> DatasetName {
    "own".parse().unwrap()
}

fn rejection(change: impl FnOnce(&Path)) -> String {
    let (_folder, sets) = custom(change);
    sets.read(&name()).unwrap_err().to_string()
}

#[test]
fn four_idx_files_make_a_data_set_of_their_size_and_classes() {
    let (_folder, sets) = custom(|_| {});
    let parts = sets.read(&name()).unwrap().unwrap();
    assert_eq!((parts.train.dims(), parts.train.len(), parts.test.len()), (DIMS, 9, 3));
    assert_eq!(parts.train.digest(), images(9).digest());
    assert!(sets.read(&"other".parse().unwrap()).unwrap().is_none());
}

#[test]
fn names_of_emnist_and_packed_files_are_found() {
    let (_folder, sets) = custom(|folder| {
        for (from, to) in [
            ("train-images-idx3-ubyte", "emnist-letters-train-images-idx3-ubyte"),
            ("train-labels-idx1-ubyte", "emnist-letters-train-labels.idx1-ubyte"),
            ("t10k-images-idx3-ubyte", "emnist-letters-test-images-idx3-ubyte"),
        ] {
            fs::rename(folder.join(from), folder.join(to)).unwrap();
        }
        let labels = fs::read(folder.join("t10k-labels-idx1-ubyte")).unwrap();
        let packed = fs::File::create(folder.join("test-labels-idx1-ubyte.gz")).unwrap();
        let mut packed = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, &labels).unwrap();
        packed.finish().unwrap();
        fs::remove_file(folder.join("t10k-labels-idx1-ubyte")).unwrap();
    });
    assert_eq!(sets.read(&name()).unwrap().unwrap().test.digest(), images(3).digest());
}

#[test]
fn an_unchanged_set_is_read_once_and_a_changed_one_again() {
    let (folder, sets) = custom(|_| {});
    let pixels = |sets: &CustomDatasets| sets.read(&name()).unwrap().unwrap().train;
    let first = pixels(&sets);
    assert_eq!(first.pixels().as_ptr(), pixels(&sets).pixels().as_ptr());
    let mut other = images(9).pixels().to_vec();
    other[0] = 255;
    let other = ImageSet::new(DIMS, other, images(9).labels().to_vec()).unwrap();
    write_idx(folder.path(), &other, &images(3));
    assert_eq!(pixels(&sets).digest(), other.digest());
    assert_ne!(first.digest(), other.digest());
}

#[test]
fn a_class_may_be_without_images_since_some_sets_count_from_one() {
    let one_and_two = ImageSet::new(DIMS, vec![0; 12], vec![1, 2]).unwrap();
    let (_folder, sets) = custom(|folder| write_idx(folder, &one_and_two, &one_and_two));
    assert_eq!(sets.read(&name()).unwrap().unwrap().train.classes(), 3);
}

#[test]
fn a_broken_idx_folder_is_reported_with_file_and_offset() {
    let write = |name: &'static str, content: Vec<u8>| {
        move |folder: &Path| fs::write(folder.join(name), content).unwrap()
    };
    let words = |words: &[u32], body: &[u8]| {
        words.iter().flat_map(|word| word.to_be_bytes()).chain(body.iter().copied()).collect::<Vec<u8>>()
    };
    let train_labels =
        |labels: &[u8]| write("train-labels-idx1-ubyte", words(&[2049, labels.len() as u32], labels));
    let check_names = |message: String, file: &str, what: &str| {
        assert!(message.contains(file) && message.contains(what), "{message}");
    };
    check_names(rejection(train_labels(&[0; 8])), "train-labels", "has the label 0 alone");
    check_names(rejection(train_labels(&[0, 1, 2, 0])), "train-images", "9 images");
    check_names(rejection(train_labels(&[0, 1, 100])), "train-labels", "label 100 at byte 10");
    let beyond = write("t10k-labels-idx1-ubyte", words(&[2049, 3], &[0, 1, 3]));
    check_names(rejection(beyond), "t10k-labels", "label 3 at byte 10");
    let wide = write("train-images-idx3-ubyte", words(&[2051, 9, 65, 65], &[0; 9]));
    check_names(rejection(wide), "train-images", "at byte 8 that its images have 65x65");
    let other = write("t10k-images-idx3-ubyte", words(&[2051, 3, 2, 3], &[0; 18]));
    check_names(rejection(other), "t10k-images", "at byte 8 that its images have 2x3");
    let liar = write("train-images-idx3-ubyte", words(&[2051, u32::MAX, 64, 64], &[0; 9]));
    check_names(rejection(liar), "train-images", "at byte 4");
    let cut = write("train-images-idx3-ubyte", b"\x1f\x8b\x08\x00 and no more".to_vec());
    check_names(rejection(cut), "train-images", "does not unpack");
}

#[test]
fn files_that_cannot_be_read_are_reported() {
    let replaced = |make: fn(&Path)| {
        rejection(move |folder| {
            let path = folder.join("train-images-idx3-ubyte");
            fs::remove_file(&path).unwrap();
            make(&path);
        })
    };
    let looped = replaced(|path| std::os::unix::fs::symlink(path, path).unwrap());
    assert!(looped.contains("cannot read") && looped.contains("train-images"), "{looped}");
    let folder = replaced(|path| fs::create_dir(path).unwrap());
    assert!(folder.contains("it is not a file"), "{folder}");
    let device = replaced(|path| std::os::unix::fs::symlink("/dev/zero", path).unwrap());
    assert!(device.contains("it is not a file"), "{device}");
    let gone = replaced(|_| {});
    assert!(gone.contains("lacks the file train-images-idx3-ubyte"), "{gone}");
}

#[test]
fn a_missing_or_empty_folder_is_reported() {
    let twice = rejection(|folder| fs::write(folder.join("train-images-idx3-ubyte.gz"), "").unwrap());
    assert!(twice.contains("has both"), "{twice}");
    let sets = CustomDatasets::new([(name(), "/nowhere/own".into())].into());
    assert!(sets.read(&name()).unwrap_err().to_string().contains("/nowhere/own"));
    let empty = tempfile::tempdir().unwrap();
    let sets = CustomDatasets::new([(name(), empty.path().to_owned())].into());
    assert!(sets.read(&name()).unwrap_err().to_string().contains("holds no data set"));
}
