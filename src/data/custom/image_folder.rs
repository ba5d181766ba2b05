//! A data set as a folder of PNG images per class: `train/<label>/*.png` with `test/<label>/*.png`,
//! or `<label>/*.png` alone, of which a fifth is held out for testing. Images are decoded by `image`.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::{
    fingerprint::{Fingerprint, entries},
    train_test::{MAX_PIXELS, TrainTestSets},
};
use crate::data::{
    Error, ImageSet,
    dataset::{CLASSES, Dims, MAX_SIDE},
    image,
};

/// Largest number of images of a class in a part.
const MAX_FILES_OF_CLASS: usize = 200_000;

/// Largest number of entries of the folder that holds the classes.
const MAX_ENTRIES: usize = 10_000;

/// Size limit of a file in bytes: 64 × 64 pixels of four 16-bit channels, unpacked, and as much
/// again.
const MAX_BYTES: u64 = 64 << 10;

/// Longest name of a class, in bytes.
const MAX_LABEL_BYTES: usize = 64;

/// If a class has no test folder, one image in this many is for testing, at least one.
const TEST_SHARE: usize = 5;

/// The seed of the split and of the order, which is part of the definition of such a data set: the
/// images for testing are the same for every request.
const SEED: u64 = 0;

/// The image files of a folder, by class.
#[derive(Debug, PartialEq, Eq)]
pub struct ImageFolder {
    folder: PathBuf,
    labels: Vec<String>,
    train: Vec<LabeledFile>,
    test: Vec<LabeledFile>,
}

/// A file and its class.
#[derive(Debug, PartialEq, Eq)]
struct LabeledFile {
    class: usize,
    fingerprint: Fingerprint,
}

impl ImageFolder {
    /// The image files of a folder; none where it holds no folder with a PNG file. Errors on a class
    /// without images and on other files.
    pub fn find(folder: &Path) -> Result<Option<Self>, Error> {
        let (train, test) = (folder.join("train"), folder.join("test"));
        let mut found = if train.is_dir() && test.is_dir() {
            let labels = labels(&train)?;
            let mut found = Self::empty(folder, labels);
            for label in self::labels(&test)? {
                if !found.labels.contains(&label) {
                    let message = "is a class that no image for training has: add some, or remove it";
                    return Err(broken(&test.join(label), message));
                }
            }
            for (class, label) in found.labels.iter().enumerate() {
                found.train.extend(of_class(&train.join(label), class)?);
                let tested = test.join(label);
                if tested.is_dir() {
                    found.test.extend(of_class(&tested, class)?);
                }
            }
            found
        } else {
            let mut found = Self::empty(folder, labels(folder)?);
            for (class, label) in found.labels.iter().enumerate() {
                let mut files = in_order(folder, of_class(&folder.join(label), class)?);
                let test_count = match files.len() {
                    1 => 0,
                    count => ((count + TEST_SHARE / 2) / TEST_SHARE).max(1),
                };
                found.train.extend(files.split_off(test_count));
                found.test.append(&mut files);
            }
            found
        };
        if found.labels.is_empty() {
            return Ok(None);
        }
        if !CLASSES.contains(&found.labels.len()) {
            let (least, most) = (CLASSES.start(), CLASSES.end());
            let message = format!("has {} classes (folders): use {least} to {most}", found.labels.len());
            return Err(broken(folder, &message));
        }
        // Sorted by class, the last images, which validate a run, would be those of the last classes.
        found.train = in_order(folder, found.train);
        found.test = in_order(folder, found.test);
        Ok(Some(found))
    }

    /// Reads every image. The classes are named as their folders, unless those are the numbers from 0 on.
    pub fn read(&self) -> Result<TrainTestSets, Error> {
        let mut size = None;
        let train = read_all(&self.train, &mut size)?;
        let test = read_all(&self.test, &mut size)?;
        let (height, width) = size.unwrap_or_default();
        let dims = Dims { height, width, classes: self.labels.len() };
        let numbered = self.labels.iter().enumerate().all(|(class, label)| *label == class.to_string());
        let set = |pixels, files: &[LabeledFile]| {
            // At most 100 classes.
            let labels = files.iter().map(|file| file.class as u8).collect();
            let set = ImageSet::new(dims, pixels, labels)?;
            if numbered { Ok(set) } else { set.with_class_names(self.labels.clone()) }
        };
        Ok::<_, Error>(TrainTestSets { train: set(train, &self.train)?, test: set(test, &self.test)? })
    }

    fn empty(folder: &Path, labels: Vec<String>) -> Self {
        Self { folder: folder.to_owned(), labels, train: Vec::new(), test: Vec::new() }
    }
}

/// The folders below as class names: by number where all are numbers, else as text.
fn labels(folder: &Path) -> Result<Vec<String>, Error> {
    let mut labels = Vec::new();
    for path in entries(folder, MAX_ENTRIES)? {
        if !path.is_dir() {
            if is_png(&path) {
                return Err(broken(&path, "lies in no class's folder: move it into the one of its label"));
            }
            continue;
        }
        let name = path.file_name().and_then(|name| name.to_str());
        match name.filter(|name| name.len() <= MAX_LABEL_BYTES && !name.contains(char::is_control)) {
            Some(name) => labels.push(name.to_owned()),
            None => {
                let message = format!("is no name of a class: use a text of at most {MAX_LABEL_BYTES} bytes");
                return Err(broken(&path, &message));
            }
        }
    }
    let number = |label: &String| label.parse::<u64>().ok();
    if labels.iter().all(|label| number(label).is_some()) {
        labels.sort_by_key(number);
    }
    Ok(labels)
}

/// Returns the image files of one class, sorted by name.
fn of_class(folder: &Path, class: usize) -> Result<Vec<LabeledFile>, Error> {
    let mut files = Vec::new();
    for path in entries(folder, MAX_FILES_OF_CLASS)? {
        if !is_png(&path) {
            return Err(broken(&path, "is no PNG file: convert it, or remove it"));
        }
        files.push(LabeledFile { class, fingerprint: Fingerprint::of(path)? });
    }
    if files.is_empty() {
        return Err(broken(folder, "is a class without images: put PNG files in, or remove the folder"));
    }
    Ok(files)
}

/// Sorts the files by a key that depends on each file's path and the seed alone, so that an added file
/// moves no other: by SHA-256 of the seed (a little-endian u64) and the path below the folder.
fn in_order(folder: &Path, mut files: Vec<LabeledFile>) -> Vec<LabeledFile> {
    files.sort_by_cached_key(|file| {
        let path = file.fingerprint.path.strip_prefix(folder).unwrap_or(&file.fingerprint.path);
        let seeded = Sha256::new().chain_update(SEED.to_le_bytes());
        <[u8; 32]>::from(seeded.chain_update(path.as_os_str().as_encoded_bytes()).finalize())
    });
    files
}

/// Returns the pixels of all files; `size` is (height, width) of the first one that was read, and all
/// must have it.
fn read_all(files: &[LabeledFile], size: &mut Option<(usize, usize)>) -> Result<Vec<u8>, Error> {
    let mut pixels = Vec::new();
    for LabeledFile { fingerprint, .. } in files {
        let (path, bytes) = (&fingerprint.path, read_file(fingerprint)?);
        let found = size_of(path, &bytes)?;
        let expected = *size.get_or_insert(found);
        if found != expected {
            let ((h, w), (height, width)) = (found, expected);
            let message = format!("has {h}x{w} pixels, and others {height}x{width}: a set has one size");
            return Err(broken(path, &message));
        }
        let area = expected.0 * expected.1;
        if (files.len() * area) as u64 > MAX_PIXELS {
            let message = format!("is one of {} images: {MAX_PIXELS} pixels are the most", files.len());
            return Err(broken(path, &message));
        }
        let decoded = image::decode(&bytes, image::Grayscale::Luma)
            .map_err(|problem| broken(path, &format!("is broken: {problem}")))?;
        if (decoded.height, decoded.width) != expected {
            return Err(broken(path, "is rotated by its metadata: save it as it is to be displayed"));
        }
        pixels.extend_from_slice(&decoded.pixels);
    }
    Ok(pixels)
}

fn read_file(fingerprint: &Fingerprint) -> Result<Vec<u8>, Error> {
    let path = &fingerprint.path;
    if fingerprint.bytes > MAX_BYTES {
        let message =
            format!("has {} bytes: an image of 64x64 pixels has at most {MAX_BYTES}", fingerprint.bytes);
        return Err(broken(path, &message));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(Error::io("read", path))?;
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    Ok(bytes)
}

/// Height and width as the header says, before anything is decoded: the first chunk of a PNG file
/// is IHDR, at byte 8, with width and height as big-endian words at bytes 16 and 20.
fn size_of(path: &Path, bytes: &[u8]) -> Result<(usize, usize), Error> {
    let word = |at: usize| bytes.get(at..at + 4).map(|word| [word[0], word[1], word[2], word[3]]);
    let header = bytes.starts_with(b"\x89PNG\r\n\x1a\n") && word(12) == Some(*b"IHDR");
    let (Some(width), Some(height), true) = (word(16), word(20), header) else {
        return Err(broken(path, "is no PNG file within its first 24 bytes: copy it again, or convert it"));
    };
    let (height, width) = (u32::from_be_bytes(height) as usize, u32::from_be_bytes(width) as usize);
    let sides = 1..=MAX_SIDE;
    if !sides.contains(&height) || !sides.contains(&width) {
        let message =
            format!("says at byte 16 that it has {height}x{width} pixels: a side has 1 to {MAX_SIDE}");
        return Err(broken(path, &message));
    }
    Ok((height, width))
}

fn is_png(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"))
}

fn broken(path: &Path, message: &str) -> Error {
    Error::BrokenSet { path: path.to_owned(), message: message.to_owned() }
}
