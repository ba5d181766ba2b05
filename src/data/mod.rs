//! Data sets of digit images: reading, fetching, generating, splitting and batching them; images from
//! outside brought into the form of MNIST's. Does not use any network or request.

pub mod augment;
pub mod batch;
pub mod catalog;
mod centering;
pub mod custom;
pub mod dataset;
mod dims;
mod error;
pub mod fetch;
pub mod idx;
pub mod image;
pub mod mnist;
mod names;
pub mod random;
pub mod split;
pub mod synthetic;

pub use augment::{Augmentation, Augmenter};
pub use batch::{Batch, DeviceSet, Order, epoch_order};
pub use catalog::{Catalog, DatasetInfo, DatasetSpec, FetchPolicy};
pub use centering::ImageSize;
pub use dataset::{ImageSet, Splits};
pub use error::Error;
pub use random::{CounterStream, Random, Stream, stream_seed};
pub use split::{Split, ValidationSize};
