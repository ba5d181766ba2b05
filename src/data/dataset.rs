//! Labelled images in memory: cheap to clone and to slice, always of a consistent size.
//! `catalog` loads them; tensors are made in `batch`.

use std::{fmt::Write as _, ops::Range, sync::Arc};

use sha2::{Digest, Sha256};

use super::Error;
use crate::ids::FieldError;

pub use super::dims::{CLASSES, Dims, MAX_SIDE};

/// The three parts of a data set; no image is in two of them.
#[derive(Debug, Clone)]
pub struct Splits {
    pub train: ImageSet,
    pub validation: ImageSet,
    pub test: ImageSet,
}

/// Grey images, one byte a pixel from 0 (background) to 255 (ink), row by row, each with a label.
/// A clone or a slice shares the bytes.
#[derive(Debug, Clone)]
pub struct ImageSet {
    dims: Dims,
    pixels: Arc<Vec<u8>>,
    labels: Arc<Vec<u8>>,
    range: Range<usize>,
    /// The name of each class; empty if classes are numbered.
    class_names: Arc<[String]>,
}

impl ImageSet {
    /// A set of `pixels` `[n, height, width]` and `labels` `[n]`. Errors when the sizes do not belong
    /// together, or a label is not below `dims.classes`.
    pub fn new(dims: Dims, pixels: Vec<u8>, labels: Vec<u8>) -> Result<Self, Error> {
        let side = 1..=MAX_SIDE;
        if !side.contains(&dims.height) || !side.contains(&dims.width) {
            let message = format!("is {}x{}: a side has 1 to {MAX_SIDE} pixels", dims.height, dims.width);
            return Err(Error::InvalidSize(FieldError::new("image size", message)));
        }
        if !CLASSES.contains(&dims.classes) {
            let message = format!("is {}: use {} to {}", dims.classes, CLASSES.start(), CLASSES.end());
            return Err(Error::InvalidSize(FieldError::new("number of classes", message)));
        }
        if pixels.len() != labels.len() * dims.area() {
            let message =
                format!("is {} for {} labels of {} pixels each", pixels.len(), labels.len(), dims.area());
            return Err(Error::InvalidSize(FieldError::new("number of pixels", message)));
        }
        if let Some(at) = labels.iter().position(|&label| usize::from(label) >= dims.classes) {
            let message = format!("{at} is {}: labels are below {}", labels[at], dims.classes);
            return Err(Error::InvalidSize(FieldError::new("label", message)));
        }
        let range = 0..labels.len();
        let class_names = Arc::default();
        Ok(Self { dims, pixels: Arc::new(pixels), labels: Arc::new(labels), range, class_names })
    }

    /// Sets the name of each class. Errors if there are not as many names as classes.
    pub fn with_class_names(self, names: Vec<String>) -> Result<Self, Error> {
        if names.len() != self.dims.classes {
            let message = format!("is {} for {} classes", names.len(), self.dims.classes);
            return Err(Error::InvalidSize(FieldError::new("number of class names", message)));
        }
        Ok(Self { class_names: names.into(), ..self })
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    pub fn dims(&self) -> Dims {
        self.dims
    }

    pub fn height(&self) -> usize {
        self.dims.height
    }

    pub fn width(&self) -> usize {
        self.dims.width
    }

    pub fn classes(&self) -> usize {
        self.dims.classes
    }

    /// The name of each class; empty if classes are numbered.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// The pixels of image `index`, counted from 0, row by row. Panics beyond `len()`.
    pub fn image(&self, index: usize) -> &[u8] {
        let area = self.dims.area();
        &self.pixels()[index * area..(index + 1) * area]
    }

    /// The label of image `index`, counted from 0. Panics beyond `len()`.
    pub fn label(&self, index: usize) -> u8 {
        self.labels()[index]
    }

    /// All pixels, [n, height, width].
    pub fn pixels(&self) -> &[u8] {
        let area = self.dims.area();
        &self.pixels[self.range.start * area..self.range.end * area]
    }

    /// All labels, `[n]`.
    pub fn labels(&self) -> &[u8] {
        &self.labels[self.range.clone()]
    }

    /// The images of a range, sharing the bytes. A range beyond the end is cut short.
    pub fn slice(&self, range: Range<usize>) -> Self {
        let end = self.range.start + range.end.min(self.len());
        let start = (self.range.start + range.start.min(self.len())).min(end);
        Self { range: start..end, ..self.clone() }
    }

    /// The images at `indices`, in that order, copied. Panics on an index beyond `len()`.
    pub fn select(&self, indices: &[usize]) -> Self {
        let mut pixels = Vec::with_capacity(indices.len() * self.dims.area());
        indices.iter().for_each(|&index| pixels.extend_from_slice(self.image(index)));
        let labels: Vec<u8> = indices.iter().map(|&index| self.label(index)).collect();
        let range = 0..labels.len();
        Self { pixels: Arc::new(pixels), labels: Arc::new(labels), range, ..self.clone() }
    }

    /// Returns the digest that identifies this set: the SHA-256, in hexadecimal, of the count, height,
    /// width and classes (each a little-endian u64), the pixels, the labels and the names of the
    /// classes (each ended by a zero byte).
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for size in [self.len(), self.height(), self.width(), self.classes()] {
            hash.update((size as u64).to_le_bytes());
        }
        hash.update(self.pixels());
        hash.update(self.labels());
        self.class_names().iter().for_each(|name| hash.update([name.as_bytes(), &[0]].concat()));
        hex(&hash.finalize())
    }
}

/// Bytes in lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: Dims = Dims { height: 1, width: 2, classes: 3 };

    fn tiny() -> ImageSet {
        ImageSet::new(TINY, vec![0, 1, 10, 11, 20, 21], vec![0, 1, 2]).unwrap()
    }

    #[test]
    fn a_slice_and_a_selection_hold_the_requested_images() {
        let slice = tiny().slice(1..3);
        assert_eq!((slice.len(), slice.image(0), slice.label(1)), (2, &[10, 11][..], 2));
        assert_eq!(slice.slice(1..99).pixels(), [20, 21]);
        assert!(slice.slice(7..9).is_empty());
        let chosen = slice.select(&[1, 0, 1]);
        assert_eq!(chosen.pixels(), [20, 21, 10, 11, 20, 21]);
        assert_eq!(chosen.labels(), [2, 1, 2]);
    }

    #[test]
    fn a_digest_depends_on_content_alone() {
        assert_eq!(tiny().slice(1..2).digest(), tiny().select(&[1]).digest());
        let wider = Dims { classes: 4, ..TINY };
        let same_bytes = ImageSet::new(wider, tiny().pixels().to_vec(), tiny().labels().to_vec()).unwrap();
        assert_ne!(same_bytes.digest(), tiny().digest());
        assert_ne!(tiny().slice(0..2).digest(), tiny().digest());
    }

    #[test]
    fn inconsistent_sizes_are_rejected() {
        for (dims, pixels, labels, word) in [
            (Dims { height: 0, ..TINY }, 0, vec![], "image size"),
            (Dims { width: 65, ..TINY }, 65, vec![0], "image size"),
            (Dims { classes: 1, ..TINY }, 2, vec![0], "number of classes"),
            (TINY, 3, vec![0], "number of pixels"),
            (TINY, 4, vec![0, 3], "label 1 is 3"),
        ] {
            let error = ImageSet::new(dims, vec![0; pixels], labels).unwrap_err().to_string();
            assert!(error.starts_with(word), "{error}");
        }
    }
}
