//! Data sets of digit images: reading, fetching, drawing, splitting and batching them, and making
//! pictures from outside look like them. Knows no network and no request.

pub mod augment;
pub mod batch;
pub mod catalog;
pub mod dataset;
mod error;
pub mod fetch;
mod fit;
pub mod idx;
pub mod image;
pub mod mnist;
pub mod random;
pub mod registered;
pub mod split;
pub mod synthetic;

pub use augment::{Augmentation, Augmenter};
pub use batch::{Batch, DeviceSet, Order, epoch_order};
pub use catalog::{Catalog, DatasetSpec, Facts, FetchPolicy};
pub use dataset::{ImageSet, Splits};
pub use error::Error;
pub use fit::Frame;
pub use random::{CounterStream, Random, Stream, stream_seed};
pub use split::{Split, ValidationSize};
