//! One pass of a network over a set: sums of every channel of every layer, and the confidence of the predictions.

use tch::{Kind, Tensor};

use super::finding::numbered;
use crate::{
    data::{DeviceSet, ImageSet},
    inspect::tensors::{values, zero_shares},
    nn::{LayerKind, Network},
};

/// Images of a pass.
const BATCH: usize = 250;

/// The probability left for all other classes if the largest one is 1 in float32: 2⁻²⁵.
const LEFT_BESIDE_ONE: f64 = 1.0 / (1u64 << 25) as f64;

/// The result of a pass.
pub(super) struct DatasetScan {
    pub images: usize,
    pub layers: Vec<LayerHealth>,
    /// Images whose largest probability is 1 in float32.
    pub saturated: i64,
    /// The number of those that are misclassified.
    pub saturated_wrong: i64,
    pub correct: i64,
}

/// The outputs of a layer over all images and positions, channel by channel.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerHealth {
    pub name: String,
    pub kind: LayerKind,
    pub zero_fractions: Vec<f64>,
    pub means: Vec<f64>,
    /// The standard deviations of the population.
    pub stds: Vec<f64>,
    /// The channels of a ReLU that are zero for every image.
    pub dead_channels: Vec<i64>,
}

/// float64 [channels] each: of the whole set.
struct ChannelSums {
    /// Sums over images of each image's share of zeros.
    zeros: Tensor,
    /// Sums over images of each image's mean, and of its mean square.
    means: Tensor,
    squares: Tensor,
}

impl DatasetScan {
    /// Passes the set through the network; none if it is not `wanted` any more.
    pub fn of(network: &Network, set: &ImageSet, wanted: &dyn Fn() -> bool) -> Option<Self> {
        let images = set.len();
        let set = DeviceSet::new(set, network.device());
        let mut sums: Vec<Option<ChannelSums>> = network.config().layers.iter().map(|_| None).collect();
        let (mut saturated, mut saturated_wrong, mut correct) = (0, 0, 0);
        let size = network.forward_batch(BATCH);
        for start in (0..images).step_by(size) {
            let batch = set.range(start, start + size, network.kind());
            let count = batch.labels.size()[0] as f64;
            let logits = network.forward_with(&batch.images, &mut |layer, output| {
                if tells(&network.config().layers[layer].kind) {
                    ChannelSums::add(&mut sums[layer], output, count);
                }
            });
            let (largest, predicted) =
                logits.to_kind(Kind::Double).softmax(-1, None::<Kind>).max_dim(-1, false);
            let full = largest.ge(1.0 - LEFT_BESIDE_ONE);
            let right = predicted.eq_tensor(&batch.labels);
            let count = |flags: &Tensor| flags.sum(Kind::Int64).int64_value(&[]);
            saturated += count(&full);
            saturated_wrong += count(&full.logical_and(&right.logical_not()));
            correct += count(&right);
            if !wanted() {
                return None;
            }
        }
        let layers = network.config().layers.iter().zip(sums);
        let layers = layers.filter_map(|(layer, sums)| Some(sums?.end(&layer.name, &layer.kind, images)));
        Some(Self { images, layers: layers.collect(), saturated, saturated_wrong, correct })
    }
}

/// Whether a layer changes values: the others would repeat what the layer before them shows.
fn tells(kind: &LayerKind) -> bool {
    match kind {
        LayerKind::Flatten | LayerKind::Dropout(_) => false,
        LayerKind::Conv(_)
        | LayerKind::Relu
        | LayerKind::MaxPool(_)
        | LayerKind::Linear(_)
        | LayerKind::BatchNorm(_) => true,
    }
}

impl ChannelSums {
    fn add(sums: &mut Option<Self>, output: &Tensor, images: f64) {
        let others: Vec<i64> = (0..output.dim() as i64).filter(|axis| *axis != 1).collect();
        let exact = output.to_kind(Kind::Double);
        let mean = |values: &Tensor| values.mean_dim(&others[..], false, Kind::Double) * images;
        let (zeros, means, squares) = (zero_shares(output) * images, mean(&exact), mean(&exact.square()));
        match sums {
            None => *sums = Some(Self { zeros, means, squares }),
            Some(sums) => {
                sums.zeros += zeros;
                sums.means += means;
                sums.squares += squares;
            }
        }
    }

    fn end(self, name: &str, kind: &LayerKind, images: usize) -> LayerHealth {
        let images = images as f64;
        let zero_fractions = values(&(self.zeros / images));
        let means = values(&(self.means / images));
        let squares = values(&(self.squares / images));
        // Rounding may leave a variance just below 0; NaN stays what it is.
        let std = |(square, mean): (&f64, &f64)| {
            let variance = square - mean * mean;
            if variance < 0.0 { 0.0 } else { variance.sqrt() }
        };
        let dead_channels = match kind {
            // Sums of shares of 1 are whole, so that nothing else is 1 here.
            LayerKind::Relu => numbered(&zero_fractions, |share| share == 1.0),
            LayerKind::Conv(_)
            | LayerKind::MaxPool(_)
            | LayerKind::Flatten
            | LayerKind::Linear(_)
            | LayerKind::Dropout(_)
            | LayerKind::BatchNorm(_) => Vec::new(),
        };
        LayerHealth {
            name: name.to_owned(),
            kind: kind.clone(),
            stds: squares.iter().zip(&means).map(std).collect(),
            zero_fractions,
            means,
            dead_channels,
        }
    }
}
