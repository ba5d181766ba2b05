//! A network that answers and nothing else, in one thread's hands.

use tch::{Device, Kind, Tensor};

use super::Network;
use crate::nn::{Precision, precision::Products, stem::Whole};

/// A network for answers, in the fastest way that this machine has.
#[derive(Debug)]
pub struct Predictor {
    network: Network,
    whole: Option<Whole>,
}

impl Network {
    /// The same network for answers alone. Of `precision` are the products of its convolutions, and
    /// those of its linear layers where libtorch computes them; bfloat16 is for devices that have units
    /// for it, on others it is float32.
    pub fn into_predictor(mut self, precision: Precision) -> Predictor {
        self.answers = Products::of_answers(precision, self.device());
        let bfloat16 = !self.answers.are_own();
        let whole = |stem| Whole::of(stem, &self.config.layers, &self.parameters, bfloat16);
        let whole = self.stem.as_ref().and_then(whole);
        Predictor { whole, network: self }
    }
}

impl Predictor {
    /// Pixels [images, height, width] in [0,1] to probabilities [images, classes], row by row.
    pub fn probabilities(&mut self, pixels: &[f32], images: usize) -> Vec<f32> {
        let Some(whole) = &mut self.whole else { return self.by_libtorch(pixels, images) };
        let area = self.network.input().len() as usize;
        assert_eq!(pixels.len(), images * area, "pictures of the network's size");
        let mut probabilities = Vec::with_capacity(images * self.network.classes());
        for image in pixels.chunks_exact(area) {
            probabilities.extend(softmax(whole.logits(image)));
        }
        probabilities
    }

    fn by_libtorch(&self, pixels: &[f32], images: usize) -> Vec<f32> {
        let [_, _, h, w] = self.network.input().with_batch(1)[..] else {
            unreachable!("a network takes maps")
        };
        // channels_last by hand: with one channel no conversion gives these strides.
        let input = Tensor::from_slice(pixels).as_strided([images as i64, 1, h, w], [h * w, 1, w, 1], None);
        let output = self.network.predict(&input.to_device(self.network.device()));
        let output = output.to_device(Device::Cpu).to_kind(Kind::Float).contiguous().view(-1);
        Vec::try_from(output).expect("probabilities are a row of float32")
    }
}

/// exp(x - max) / Σ exp(x - max).
fn softmax(logits: &[f32]) -> impl Iterator<Item = f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponential = move |logit: &f32| (logit - largest).exp();
    let sum: f32 = logits.iter().map(exponential).sum();
    logits.iter().map(move |logit| exponential(logit) / sum)
}
