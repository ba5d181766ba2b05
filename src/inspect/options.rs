//! What an inspection shows.

use crate::data::ImageSet;

/// The settings of an inspection.
#[derive(Debug, Clone)]
pub struct Options {
    /// The batch size N in the shapes and the multiply-adds.
    pub batch_size: i64,
    /// The contents to show; none for shapes alone.
    pub contents: Option<Contents>,
}

/// The contents to show, and the image that they are computed for.
#[derive(Debug, Clone)]
pub struct Contents {
    /// The image that is fed through the network: H·W numbers in `[0,1]`, row by row.
    pub image: Vec<f32>,
    /// The layers to show by name; empty: all.
    pub layers: Vec<String>,
    pub channels: Channels,
    /// The images over which zeros are counted.
    pub sample: Option<ImageSet>,
    /// The number of bins of each histogram; 0 for no histograms.
    pub histogram_bins: usize,
    /// The largest number of values of channels, kernels and shares of zeros in the result.
    pub max_values: usize,
}

/// The channels of each layer to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Channels {
    /// Channels counted from 0; a repeated one counts once. One that a layer does not have is left out there.
    Chosen(Vec<i64>),
    /// One channel of each layer, chosen by this seed.
    Random(u64),
    All,
}
