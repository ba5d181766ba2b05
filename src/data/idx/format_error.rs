//! The ways in which an IDX file can be broken, and the sentence for each.

use std::path::Path;

use super::{IMAGES_MAGIC, LABELS_MAGIC};
use crate::data::dims::MAX_SIDE;

/// The defect of a file; offsets count bytes of the unpacked content from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormatError {
    /// The file ends within its header.
    ShortHeader {
        length: u64,
        need: u64,
    },
    Magic {
        found: u32,
        expected: u32,
    },
    /// The file is something else that downloads leave, and what to do about it.
    Foreign {
        what: &'static str,
    },
    ImageSize {
        height: u64,
        width: u64,
    },
    /// No items, or more of them than the cap allows.
    Count {
        count: u64,
        size: u64,
        limit: u64,
    },
    /// The file ends, or must end, at `length`, before the `end` that its header promises.
    Truncated {
        length: u64,
        end: u64,
    },
    /// The file continues after the `end` that its header promises.
    Trailing {
        end: u64,
    },
    Label {
        label: u8,
        offset: u64,
        classes: usize,
    },
    Gzip {
        offset: u64,
        cause: String,
    },
    /// The unpacked content is longer than any file of this kind.
    TooLong {
        limit: u64,
    },
    /// A file of images and its file of labels do not belong together.
    Counts {
        images: usize,
        labels: usize,
    },
    /// The images for testing have another (height, width) than those for training.
    OtherSize {
        found: (usize, usize),
        expected: (usize, usize),
    },
}

impl FormatError {
    /// Names a file that is no IDX file by its beginning, where it is something that downloads leave.
    pub(super) fn foreign(beginning: &[u8]) -> Option<Self> {
        let text = beginning.trim_ascii_start().to_ascii_lowercase();
        let what = match beginning {
            [0x1f, 0x8b, ..] => "compressed with gzip twice: unpack it once, for instance with `gunzip`",
            [b'P', b'K', 3, 4, ..] => "a zip archive: unpack it, and give the folder of its files",
            _ if text.starts_with(b"<!do") || text.starts_with(b"<htm") => {
                "an HTML page in place of an IDX file: download the file itself, not the page about it"
            }
            _ if text.starts_with(b"vers") => {
                "a Git LFS pointer in place of an IDX file: run `git lfs pull` where it is from"
            }
            _ => return None,
        };
        Some(Self::Foreign { what })
    }

    /// Returns one sentence that names the file, the offset, and what was expected there.
    pub(in crate::data) fn describe(&self, path: &Path) -> String {
        let path = path.display();
        match self {
            Self::ShortHeader { length, need } => {
                format!("{path} ends at byte {length}, within its header of {need} bytes: copy it again")
            }
            Self::Magic { found, expected } => {
                let name = |magic| match magic {
                    IMAGES_MAGIC => "an IDX file of images",
                    LABELS_MAGIC => "an IDX file of labels",
                    _ => "no IDX file of bytes",
                };
                format!(
                    "{path} begins with {found} at byte 0 and is {}: {} begins with {expected}",
                    name(*found),
                    name(*expected)
                )
            }
            Self::Foreign { what } => format!("{path} is {what}"),
            Self::ImageSize { height, width } => format!(
                "{path} says at byte 8 that its images have {height}x{width} pixels: a side has 1 to {MAX_SIDE}"
            ),
            Self::Count { count: 0, .. } => {
                format!("{path} says at byte 4 that it is empty: it must hold something")
            }
            Self::Count { count, size, limit } => format!(
                "{path} says at byte 4 that it holds {count} items of {size} bytes: {limit} bytes are the most"
            ),
            Self::Truncated { length, end } => {
                format!(
                    "{path} is cut short at byte {length} of the {end} that its header promises: copy it again"
                )
            }
            Self::Trailing { end } => {
                format!("{path} goes on behind byte {end}, where its header says it ends")
            }
            Self::Label { label, offset, classes: 10 } => {
                format!("label {label} at byte {offset} of {path} is not a digit (0 to 9)")
            }
            Self::Label { label, offset, classes } => {
                format!("label {label} at byte {offset} of {path} is not a class (0 to {})", classes - 1)
            }
            Self::Gzip { offset, cause } => {
                format!("{path} does not unpack behind byte {offset} of its content ({cause}): copy it again")
            }
            Self::TooLong { limit } => {
                format!("{path} unpacks to more than the {limit} bytes that it should hold")
            }
            Self::Counts { images, labels } => {
                format!(
                    "{path} says at byte 4 that it holds {images} images, and the file of labels beside it has \
                     {labels} labels"
                )
            }
            Self::OtherSize { found: (h, w), expected: (height, width) } => format!(
                "{path} says at byte 8 that its images have {h}x{w} pixels, and those for training have \
                 {height}x{width}: a set has one size"
            ),
        }
    }
}
