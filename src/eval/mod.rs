//! Evaluation of a network over a set of images, and the losses it is measured with.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::{
    data::DeviceSet,
    metric::{ConfusionMatrix, Predictions},
    nn::Network,
};

/// The loss that training minimises.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// `−log softmax(logits)[label]`.
    #[default]
    CrossEntropy,
    /// Mean over the classes of (softmax(logits) − one-hot label)².
    MeanSquaredError,
}

/// The result of an evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The mean loss over the images, whatever the batches were.
    pub loss: f64,
    pub confusion: ConfusionMatrix,
}

impl Loss {
    /// The mean over the batch, a scalar; logits `[N,classes]`, labels `[N]`.
    pub fn mean(self, logits: &Tensor, labels: &Tensor) -> Tensor {
        self.smoothed(logits, labels, 0.0)
    }

    /// The mean over the batch where the label's class has 1 − s + s/K as its target and each other
    /// class s/K, with s the `smoothing` and K the number of classes (Szegedy et al. 2016); of
    /// cross-entropy as PyTorch's `label_smoothing`.
    pub fn smoothed(self, logits: &Tensor, labels: &Tensor, smoothing: f64) -> Tensor {
        match self {
            Self::CrossEntropy => {
                // log_softmax subtracts the exact log-sum-exp; Paddle's CPU kernel clips it at 64.
                let logarithms = logits.log_softmax(-1, None::<Kind>);
                let plain = logarithms.nll_loss(labels);
                match smoothing {
                    0.0 => plain,
                    s => plain * (1.0 - s) - logarithms.mean(logits.kind()) * s,
                }
            }
            Self::MeanSquaredError => {
                let classes = logits.size()[1];
                let mut target = labels.one_hot(classes).to_kind(logits.kind());
                if smoothing > 0.0 {
                    target = target * (1.0 - smoothing) + smoothing / classes as f64;
                }
                (logits.softmax(-1, None::<Kind>) - target).square().mean(logits.kind())
            }
        }
    }
}

impl Evaluation {
    /// Share of the images whose largest logit is at their label.
    pub fn accuracy(&self) -> f64 {
        f64::from(self.confusion.correct()) / f64::from(self.confusion.total())
    }
}

/// Measures `network` over all of `set`, `batch_size` images at a time, or fewer where the network
/// is so wide that they would not fit into memory. Panics on an empty set.
pub fn evaluate(network: &Network, set: &DeviceSet, batch_size: usize, loss: Loss) -> Evaluation {
    evaluate_with(network, set, batch_size, loss, &mut |_, _| ())
}

/// Like [`evaluate`]; `observe` receives each ReLU's index and output for every batch, as
/// `Network::logits` passes them.
pub fn evaluate_with(
    network: &Network,
    set: &DeviceSet,
    batch_size: usize,
    loss: Loss,
    observe: &mut dyn FnMut(usize, &Tensor),
) -> Evaluation {
    assert!(!set.is_empty() && batch_size > 0, "there is nothing to measure");
    let _guard = tch::no_grad_guard();
    let mut confusion = ConfusionMatrix::new(network.classes());
    let mut total = 0.0;
    let batch_size = network.forward_batch(batch_size);
    for start in (0..set.len()).step_by(batch_size) {
        let batch = set.range(start, start + batch_size, network.kind());
        let logits = network.logits(&batch.images, observe);
        let images = batch.labels.size()[0];
        total += loss.mean(&logits, &batch.labels).double_value(&[]) * images as f64;
        let pairs = batch.labels * network.classes() as i64 + logits.argmax(-1, false);
        let pairs = Vec::<i64>::try_from(pairs).expect("a row of integers");
        for pair in pairs {
            let pair = pair as usize;
            confusion.add(pair / network.classes(), pair % network.classes());
        }
    }
    Evaluation { loss: total / set.len() as f64, confusion }
}

/// Computes the predictions of `network` over all of `set`, `batch_size` images at a time, or fewer
/// where the network is so wide that they would not fit into memory. `progress` receives the number of
/// images done after each batch; if it breaks, the result is none.
pub fn predict_all(
    network: &Network,
    set: &DeviceSet,
    batch_size: usize,
    progress: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Option<Predictions> {
    assert!(batch_size > 0, "a batch holds an image at least");
    let _guard = tch::no_grad_guard();
    let batch_size = network.forward_batch(batch_size);
    let mut logits = Vec::with_capacity(set.len() * network.classes());
    let mut labels = Vec::with_capacity(set.len());
    for start in (0..set.len()).step_by(batch_size) {
        let batch = set.range(start, start + batch_size, network.kind());
        let outputs = network.logits(&batch.images, &mut |_, _| ()).to_kind(Kind::Double).reshape([-1]);
        logits.extend(Vec::<f64>::try_from(outputs).expect("logits are a row of numbers"));
        let classes = batch.labels.to_kind(Kind::Uint8);
        labels.extend(Vec::<u8>::try_from(classes).expect("labels are below 100"));
        if progress(labels.len()).is_break() {
            return None;
        }
    }
    Some(Predictions::new(network.classes(), logits, labels))
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::{
        data::{ImageSet, dataset::Dims},
        nn::{LayerKind, LinearConfig, NetworkConfig, Shape},
    };

    /// Predictions class `pixel`, with logits 1 there and 0 elsewhere, for images of one hot pixel.
    fn reader() -> Network {
        let linear = LayerKind::Linear(LinearConfig { out_features: 2 });
        let config = NetworkConfig::from_layers(vec![(None, LayerKind::Flatten), (None, linear)]);
        let mut network = Network::zeros(&config, Shape::grey(1, 2), 2, Kind::Double, Device::Cpu).unwrap();
        network.parameters_mut().assign(0, &Tensor::eye(2, (Kind::Double, Device::Cpu)));
        network
    }

    fn set(images: &[(u8, u8)]) -> DeviceSet {
        let dims = Dims { height: 1, width: 2, classes: 2 };
        let pixels = images.iter().flat_map(|&(hot, _)| [255 * (1 - hot), 255 * hot]).collect();
        let labels = images.iter().map(|&(_, label)| label).collect();
        DeviceSet::new(&ImageSet::new(dims, pixels, labels).unwrap(), Device::Cpu)
    }

    #[test]
    fn loss_and_counts_are_those_computed_by_hand() {
        let evaluation = evaluate(&reader(), &set(&[(0, 0), (1, 1), (1, 0)]), 2, Loss::CrossEntropy);
        assert_eq!(evaluation.confusion.row(0), [1, 1]);
        assert_eq!(evaluation.confusion.row(1), [0, 1]);
        assert!((evaluation.accuracy() - 2.0 / 3.0).abs() < 1e-12);
        let e = std::f64::consts::E;
        let (right, wrong) = (-(e / (e + 1.0)).ln(), -(1.0 / (e + 1.0)).ln());
        assert!((evaluation.loss - (2.0 * right + wrong) / 3.0).abs() < 1e-12);
    }

    #[test]
    fn the_loss_is_the_true_mean_whatever_the_batch_size() {
        let images = set(&[(0, 0), (1, 1), (1, 0), (0, 1), (0, 0)]);
        let loss = |batch_size| evaluate(&reader(), &images, batch_size, Loss::CrossEntropy).loss;
        for batch_size in [1, 2, 3, 4, 100] {
            assert!((loss(batch_size) - loss(5)).abs() < 1e-12, "batches of {batch_size}");
        }
    }

    #[test]
    fn predictions_are_the_networks_logits_whatever_the_batch_size() {
        let images = set(&[(0, 0), (1, 1), (1, 0), (0, 1), (0, 0)]);
        for batch_size in [1, 2, 5, 9] {
            let mut seen = Vec::new();
            let mut look = |images| {
                seen.push(images);
                ControlFlow::Continue(())
            };
            let predictions = predict_all(&reader(), &images, batch_size, &mut look).unwrap();
            assert_eq!(
                (predictions.logits(1), predictions.label(2), predictions.len()),
                (&[0.0, 1.0][..], 0, 5)
            );
            let loss = evaluate(&reader(), &images, batch_size, Loss::CrossEntropy).loss;
            assert!((predictions.mean_loss() - loss).abs() < 1e-12);
            assert_eq!((seen.len(), seen.last()), (5usize.div_ceil(batch_size), Some(&5)));
        }
    }

    #[test]
    fn predictions_without_a_caller_are_not_computed() {
        let images = set(&[(0, 0), (1, 1), (1, 0), (0, 1), (0, 0)]);
        let mut batches = 0;
        let mut look = |_| {
            batches += 1;
            if batches == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        assert!(predict_all(&reader(), &images, 1, &mut look).is_none());
        assert_eq!(batches, 2);
    }

    #[test]
    fn mean_squared_error_is_over_images_and_classes() {
        let logits = Tensor::from_slice(&[0.0, 0.0, 0.0, 0.0]).view([1, 4]);
        let loss = Loss::MeanSquaredError.mean(&logits, &Tensor::from_slice(&[2i64]));
        assert!((loss.double_value(&[]) - (0.75f64.powi(2) + 3.0 * 0.25f64.powi(2)) / 4.0).abs() < 1e-12);
    }

    /// −(0.9·ln p₀ + 0.1/3·(ln p₀ + ln p₁ + ln p₂)) and so on, as PyTorch's `label_smoothing=0.1`.
    #[test]
    fn a_smoothed_label_gives_some_weight_to_every_class() {
        let logits = Tensor::from_slice(&[1.0, 2.0, 3.0, 0.0, 0.0, 0.0]).view([2, 3]);
        let labels = Tensor::from_slice(&[0i64, 2]);
        let smoothed = |loss: Loss| loss.smoothed(&logits, &labels, 0.1).double_value(&[]);
        let sum: f64 = (1..=3).map(|x| f64::from(x).exp()).sum();
        let p = [1.0f64, 2.0, 3.0].map(|x| x.exp() / sum);
        let target = [0.9 + 0.1 / 3.0, 0.1 / 3.0, 0.1 / 3.0];
        let first: f64 = -p.iter().zip(target).map(|(p, target)| target * p.ln()).sum::<f64>();
        assert!((smoothed(Loss::CrossEntropy) - (first + 3f64.ln()) / 2.0).abs() < 1e-12);
        let third = 1.0 / 3.0;
        let squares = p.iter().zip(target).map(|(p, target)| (p - target).powi(2)).sum::<f64>()
            + (third - target[0]).powi(2)
            + 2.0 * (third - target[1]).powi(2);
        assert!((smoothed(Loss::MeanSquaredError) - squares / 6.0).abs() < 1e-12);
        let plain = Loss::CrossEntropy.mean(&logits, &labels);
        assert_eq!(Loss::CrossEntropy.smoothed(&logits, &labels, 0.0), plain);
    }

    #[test]
    fn cross_entropy_of_extreme_logits_is_exact() {
        let logits = Tensor::from_slice(&[1000.0, 0.0]).view([1, 2]);
        let loss =
            |label: i64| Loss::CrossEntropy.mean(&logits, &Tensor::from_slice(&[label])).double_value(&[]);
        assert_eq!((loss(0), loss(1)), (0.0, 1000.0));
    }
}
