//! The shapes of images and parameters on their way through a network.

use std::fmt;

/// The shape of one image between two layers, without the batch axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A map has the shape `[C,H,W]`.
    Map { channels: i64, height: i64, width: i64 },
    /// A vector has the shape `[F]`.
    Vector { features: i64 },
}

/// The shapes of one layer's input, output and arrays, and its cost per image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerShape {
    pub input: Shape,
    pub output: Shape,
    pub parameters: Vec<ParameterShape>,
    /// The statistics that the layer keeps of the batches it has seen; they are saved with the parameters and
    /// not trained.
    pub running_statistics: Vec<ParameterShape>,
    /// The multiply-adds of a forward pass. As in papers, only convolutions and linear layers count.
    pub multiply_adds: i64,
}

/// One trained array of a layer.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ParameterShape {
    /// The full name, as in `conv1.weight`.
    pub name: String,
    pub dims: Vec<i64>,
}

impl Shape {
    /// Grey images of this size.
    pub fn grey(height: usize, width: usize) -> Self {
        // The data room admits sides up to 64.
        Self::Map { channels: 1, height: height as i64, width: width as i64 }
    }

    /// The number of values.
    pub fn len(self) -> i64 {
        match self {
            Self::Map { channels, height, width } => channels * height * width,
            Self::Vector { features } => features,
        }
    }

    /// The channels of a map, or the features of a vector.
    pub fn channels(self) -> i64 {
        match self {
            Self::Map { channels, .. } => channels,
            Self::Vector { features } => features,
        }
    }

    /// Whether there are no values, which is true of no shape that inference gives.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The shape of a batch of `n`, which comes first.
    pub fn with_batch(self, n: i64) -> Vec<i64> {
        match self {
            Self::Map { channels, height, width } => vec![n, channels, height, width],
            Self::Vector { features } => vec![n, features],
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Map { channels, height, width } => write!(f, "[N,{channels},{height},{width}]"),
            Self::Vector { features } => write!(f, "[N,{features}]"),
        }
    }
}

impl ParameterShape {
    /// The number of values, at most [`MAX_PARAMETERS`](super::NetworkConfig::MAX_PARAMETERS) in a shape that inference gave.
    pub fn count(&self) -> i64 {
        self.dims.iter().product()
    }
}
