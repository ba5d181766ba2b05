//! What an inspection shows.

use crate::data::ImageSet;

/// The settings of an inspection.
#[derive(Debug, Clone)]
pub struct Options {
    /// The N of the shapes and of the multiply-adds.
    pub batch_size: i64,
    /// The contents to show; none for shapes alone.
    pub contents: Option<Contents>,
}

/// The contents to show, and the picture they are computed for.
#[derive(Debug, Clone)]
pub struct Contents {
    /// H·W numbers in `[0,1]`, row by row: what goes through the network.
    pub picture: Vec<f32>,
    /// The layers to show by name; empty: all.
    pub layers: Vec<String>,
    pub channels: Channels,
    /// The images over which zeros are counted.
    pub sample: Option<ImageSet>,
    /// Bars of each histogram; 0 for none.
    pub histogram_bins: usize,
    /// Largest number of values of channels, kernels and shares of zeros in the result.
    pub most_numbers: usize,
}

/// The channels of each layer to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Channels {
    /// Counted from 0; twice the same counts once. One that a layer does not have is left out there.
    Chosen(Vec<i64>),
    /// One of each layer, a function of this seed.
    Random(u64),
    All,
}
