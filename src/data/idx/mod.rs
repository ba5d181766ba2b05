//! IDX files of images (magic number 2051) and labels (2049), plain or gzip, distinguished by content.
//! Every size is checked against the file before memory is requested. No data set is known here by name.

mod format_error;
mod read;
mod write;

pub use format_error::FormatError;
pub use read::{Images, Labels, content_digest, pair, read_images, read_labels};
pub use write::{encode_images, encode_labels};

/// First four bytes, big-endian, of a file of images: unsigned bytes in three dimensions.
pub const IMAGES_MAGIC: u32 = 2051;

/// First four bytes, big-endian, of a file of labels: unsigned bytes in one dimension.
pub const LABELS_MAGIC: u32 = 2049;

/// Size limit of the unpacked content of a file in bytes: five times MNIST's largest.
pub const MAX_CONTENT: u64 = 256 << 20;

#[cfg(test)]
mod tests;
