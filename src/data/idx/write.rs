//! Writing IDX files, plain.

use super::{IMAGES_MAGIC, LABELS_MAGIC};
use crate::data::ImageSet;

/// The images of a set as a plain IDX file.
pub fn encode_images(set: &ImageSet) -> Vec<u8> {
    let mut file = header(&[IMAGES_MAGIC, set.len() as u32, set.height() as u32, set.width() as u32]);
    file.extend_from_slice(set.pixels());
    file
}

/// The labels of a set as a plain IDX file.
pub fn encode_labels(set: &ImageSet) -> Vec<u8> {
    let mut file = header(&[LABELS_MAGIC, set.len() as u32]);
    file.extend_from_slice(set.labels());
    file
}

pub(super) fn header(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}
