//! IDX files with every kind of damage, and the error for each.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use tempfile::TempDir;

use super::{read::MAX_GZIP_RATIO, write::header, *};
use crate::data::{Error, ImageSet, dataset::Dims};

/// Three images of 2 × 2 pixels, labelled 7, 8, 9.
fn three() -> ImageSet {
    let dims = Dims { height: 2, width: 2, classes: 10 };
    ImageSet::new(dims, (0..12).collect(), vec![7, 8, 9]).unwrap()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(content).unwrap();
    packer.finish().unwrap()
}

fn file(content: &[u8]) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, content).unwrap();
    (folder, path)
}

fn problem<T: std::fmt::Debug>(read: Result<T, Error>) -> FormatError {
    match read.unwrap_err() {
        Error::BrokenFile { problem, .. } => problem,
        other => panic!("{other}"),
    }
}

fn images_problem(content: &[u8]) -> FormatError {
    let (_folder, path) = file(content);
    problem(read_images(&path))
}

fn labels_problem(content: &[u8]) -> FormatError {
    let (_folder, path) = file(content);
    problem(read_labels(&path, 10))
}

#[test]
fn written_files_are_read_back_plain_and_gzip() {
    let set = three();
    for pack in [<[u8]>::to_vec, gzip] {
        let (_a, images_path) = file(&pack(&encode_images(&set)));
        let (_b, labels_path) = file(&pack(&encode_labels(&set)));
        let images = read_images(&images_path).unwrap();
        let labels = read_labels(&labels_path, 10).unwrap();
        assert_eq!(images.sha256, content_digest(&images_path, 1000).unwrap());
        assert_eq!(labels.sha256, content_digest(&labels_path, 1000).unwrap());
        assert_eq!(pair(images, &images_path, labels, 10).unwrap().digest(), set.digest());
    }
}

#[test]
fn a_file_cut_anywhere_is_rejected() {
    let whole = encode_images(&three());
    for length in 0..whole.len() {
        let found = images_problem(&whole[..length]);
        let length = length as u64;
        let expected = match length {
            0..16 => FormatError::ShortHeader { length, need: 16 },
            _ => FormatError::Truncated { length, end: 28 },
        };
        assert_eq!(found, expected);
        // The cut file is compressed as a whole, so that gzip itself finds no error.
        assert_eq!(images_problem(&gzip(&whole[..length as usize])), expected);
    }
}

#[test]
fn a_gzip_file_cut_or_changed_anywhere_is_rejected() {
    let packed = gzip(&encode_labels(&three()));
    for length in 2..packed.len() {
        assert!(matches!(labels_problem(&packed[..length]), FormatError::Gzip { .. }), "{length}");
    }
    let mut wrong_checksum = packed.clone();
    wrong_checksum[packed.len() - 8] ^= 1;
    assert!(matches!(labels_problem(&wrong_checksum), FormatError::Gzip { offset: 11, .. }));
}

#[test]
fn trailing_bytes_are_rejected() {
    let mut longer = encode_images(&three());
    longer.push(0);
    assert_eq!(images_problem(&longer), FormatError::Trailing { end: 28 });
    assert_eq!(images_problem(&gzip(&longer)), FormatError::Trailing { end: 28 });
}

#[test]
fn a_label_file_in_place_of_images_is_reported() {
    let found = images_problem(&encode_labels(&three()));
    assert_eq!(found, FormatError::Magic { found: 2049, expected: 2051 });
    let message = found.describe(Path::new("x"));
    assert_eq!(
        message,
        "x begins with 2049 at byte 0 and is an IDX file of labels: an IDX file of images begins with 2051"
    );
    let other = FormatError::Magic { found: 0x2020_3720, expected: 2049 };
    assert_eq!(labels_problem(b"  7 and more"), other);
}

#[test]
fn what_downloads_leave_in_place_of_a_file_is_named() {
    let twice = gzip(&gzip(&encode_labels(&three())));
    let files: [(&[u8], &str); 6] = [
        (b"<html></html>", "x is an HTML page"),
        (b"\n<!DOCTYPE html><html></html>", "x is an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:7", "x is a Git LFS pointer"),
        (b"PK\x03\x04and so on", "x is a zip archive"),
        (&twice, "x is compressed with gzip twice"),
        (&gzip(b"<!doctype html>"), "x is an HTML page"),
    ];
    for (content, expected) in files {
        for message in
            [labels_problem(content), images_problem(content)].map(|it| it.describe(Path::new("x")))
        {
            assert!(message.starts_with(expected), "{message}");
        }
    }
}

#[test]
fn a_label_that_is_no_digit_is_reported_with_its_offset() {
    let mut content = encode_labels(&three());
    content[9] = 12;
    let message = labels_problem(&content).describe(Path::new("labels"));
    assert_eq!(message, "label 12 at byte 9 of labels is not a digit (0 to 9)");
}

#[test]
fn a_header_that_promises_too_much_allocates_no_memory() {
    let claim = |words: [u32; 4]| images_problem(&header(&words));
    assert_eq!(
        claim([2051, u32::MAX, 64, 64]),
        FormatError::Count { count: u64::from(u32::MAX), size: 4096, limit: MAX_CONTENT }
    );
    assert_eq!(claim([2051, 0, 28, 28]), FormatError::Count { count: 0, size: 784, limit: MAX_CONTENT });
    assert_eq!(
        claim([2051, 1, u32::MAX, 28]),
        FormatError::ImageSize { height: u64::from(u32::MAX), width: 28 }
    );
    assert_eq!(claim([2051, 1, 28, 0]), FormatError::ImageSize { height: 28, width: 0 });
    assert_eq!(claim([2051, 300_000, 28, 28]), FormatError::Truncated { length: 16, end: 235_200_016 });
    // The same false header inside gzip: 40 bytes cannot decompress to 235 million.
    let packed = gzip(&header(&[2051, 300_000, 28, 28]));
    let most = packed.len() as u64 * MAX_GZIP_RATIO;
    assert_eq!(images_problem(&packed), FormatError::Truncated { length: most, end: 235_200_016 });
}

#[test]
fn a_gzip_bomb_is_stopped_at_the_limit() {
    let (_folder, path) = file(&gzip(&vec![0; 10_000_000]));
    assert_eq!(problem(content_digest(&path, 1_000_000)), FormatError::TooLong { limit: 1_000_000 });
}

#[test]
fn counts_that_differ_are_rejected() {
    let (_a, images_path) = file(&encode_images(&three()));
    let (_b, labels_path) = file(&encode_labels(&three().slice(0..2)));
    let images = read_images(&images_path).unwrap();
    let labels = read_labels(&labels_path, 10).unwrap();
    assert_eq!(problem(pair(images, &images_path, labels, 10)), FormatError::Counts { images: 3, labels: 2 });
}

#[test]
fn a_folder_or_a_missing_file_is_an_error() {
    let folder = TempDir::new().unwrap();
    for path in [folder.path().to_owned(), folder.path().join("missing")] {
        assert!(matches!(read_images(&path), Err(Error::Io { action: "read", .. })));
    }
}
