//! Data sets as callers get them: the real files, the built-in digits, and the catalog.

#[path = "data_fetch.rs"]
mod fetch;
#[path = "data_mirror.rs"]
mod mirror;

use digitd::data::{
    Catalog, DatasetSpec, Error, FetchPolicy, ImageSize, Split, ValidationSize,
    image::{self, GrayPicture, Normalization},
    mnist,
    mnist::FileStatus,
};

use crate::support::mnist_dir;

fn spec(name: &str) -> DatasetSpec {
    DatasetSpec::whole(name.parse().unwrap())
}

#[test]
fn the_real_files_are_recognised_and_split_as_in_the_tutorial() {
    let Some(folder) = mnist_dir() else { return };
    let folders = vec![folder];
    assert!(mnist::survey(&folders).iter().all(|(_, finding)| matches!(finding, FileStatus::Good(_))));

    let catalog = Catalog::new(folders, FetchPolicy::Never);
    let splits = catalog.load(&spec("mnist"), ValidationSize::default()).unwrap();
    assert_eq!([splits.train.len(), splits.validation.len(), splits.test.len()], [50_000, 10_000, 10_000]);
    assert_eq!(splits.train.labels()[..5], [5, 0, 4, 1, 9]);
    assert_eq!(splits.validation.labels()[..5], [3, 8, 6, 9, 6]);
    assert_eq!(splits.test.labels()[..5], [7, 2, 1, 0, 4]);
}

#[test]
fn another_seed_gives_another_split_and_loses_no_image() {
    let Some(folder) = mnist_dir() else { return };
    let catalog = Catalog::new(vec![folder], FetchPolicy::Never);
    let load = |seed, part| {
        let spec = DatasetSpec { seed, ..spec("mnist") };
        catalog.load_split(&spec, ValidationSize::Fraction(0.1), part).unwrap()
    };
    let counts = |seed| {
        let mut counts = [0; 10];
        let (train, validation) = (load(seed, Split::Train), load(seed, Split::Validation));
        assert_eq!((train.len(), validation.len()), (54_000, 6_000));
        train.labels().iter().chain(validation.labels()).for_each(|&label| counts[usize::from(label)] += 1);
        counts
    };
    assert_eq!(counts(Some(1)), counts(None));
    assert_eq!(load(Some(1), Split::Train).digest(), load(Some(1), Split::Train).digest());
    assert_ne!(load(Some(1), Split::Train).digest(), load(Some(2), Split::Train).digest());
    assert_eq!(load(Some(1), Split::Test).digest(), load(None, Split::Test).digest());
}

#[test]
fn missing_mnist_is_reported_with_how_to_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = Catalog::new(vec![folder.path().to_owned()], FetchPolicy::Never);
    let error = catalog.load_split(&spec("mnist"), ValidationSize::default(), Split::Test).unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }));
    let message = error.to_string();
    for word in ["digitd data fetch", "--data-dir", "synthetic", "t10k-images-idx3-ubyte.gz"] {
        assert!(message.contains(word), "{message}");
    }
}

#[test]
fn an_unknown_name_is_rejected_before_anything_is_read() {
    let catalog = Catalog::new(Vec::new(), FetchPolicy::Never);
    for part in [Split::Train, Split::Validation, Split::Test] {
        let error = catalog.load_split(&spec("fashion"), ValidationSize::default(), part).unwrap_err();
        assert!(matches!(error, Error::UnknownDataset { .. }), "{error}");
    }
}

#[test]
fn the_built_in_digits_have_the_requested_sizes() {
    let catalog = Catalog::new(Vec::new(), FetchPolicy::Never);
    let spec = DatasetSpec { max_train_images: Some(300), seed: Some(3), ..spec("synthetic") };
    let splits = catalog.load(&spec, ValidationSize::Count(200)).unwrap();
    assert_eq!([splits.train.len(), splits.validation.len(), splits.test.len()], [300, 200, 10_000]);
    let again = catalog.load_split(&spec, ValidationSize::Count(200), Split::Train).unwrap();
    assert_eq!(again.digest(), splits.train.digest());
    let none_left = catalog.load_split(&spec, ValidationSize::Count(60_000), Split::Train).unwrap_err();
    assert!(matches!(none_left, Error::InvalidSize(error) if error.field == "validation"));
}

/// A digit as a scanner produces it: dark ink on paper, six times as large, off centre.
fn scanned(digit: &[u8]) -> GrayPicture {
    let (width, height) = (250, 200);
    let ink = |at: usize| match (at / width / 6, (at % width).checked_sub(70).map(|column| column / 6)) {
        (row @ 0..28, Some(column @ 0..28)) => digit[row * 28 + column],
        _ => 0,
    };
    let pixels = (0..width * height).map(|at| 235 - (f32::from(ink(at)) * 0.8) as u8).collect();
    GrayPicture { width, height, pixels }
}

#[test]
fn a_scanned_digit_is_normalised_to_what_mnist_made_of_it() {
    let Some(folder) = mnist_dir() else { return };
    let catalog = Catalog::new(vec![folder], FetchPolicy::Never);
    let real = catalog.load_split(&spec("mnist"), ValidationSize::default(), Split::Test).unwrap();
    let mut likeness = 0.0;
    for at in 0..300 {
        let digit =
            image::normalize(&scanned(real.image(at)), Normalization::Auto, ImageSize::MNIST).unwrap();
        let product =
            |a: &[u8], b: &[u8]| -> f64 { a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum() };
        let (ours, theirs) = (&digit.pixels, real.image(at));
        likeness += product(ours, theirs) / (product(ours, ours) * product(theirs, theirs)).sqrt() / 300.0;
    }
    assert!(likeness > 0.95, "{likeness}");
}
