//! A network for inference alone. It belongs to one thread.

use tch::{Device, Kind, Tensor};

use super::Network;
use crate::nn::{Precision, fused::FusedNetwork, precision::Multiplication, tensor_data::values_mut};

/// A network for inference, which it does in the fastest way that this machine has.
#[derive(Debug)]
pub struct Predictor {
    network: Network,
    fused_network: Option<FusedNetwork>,
    /// The pixels `[rows, height * width]` that another device copies.
    staging: Tensor,
}

impl Network {
    /// Turns the network into one for inference alone. Its convolutions multiply in `precision`, and so do its
    /// linear layers if libtorch computes them. On devices without units for bfloat16, float32 takes its place.
    pub fn into_predictor(mut self, precision: Precision) -> Predictor {
        self.inference_multiplication = Multiplication::for_inference(precision, self.device());
        let bfloat16 = !self.inference_multiplication.is_native();
        let fused_network = |front| FusedNetwork::of(front, &self.config.layers, &self.parameters, bfloat16);
        let fused_network = self.fused.as_ref().and_then(fused_network);
        Predictor { fused_network, staging: staging(0, self.input().len(), self.device()), network: self }
    }
}

impl Predictor {
    /// Computes the probabilities `[images, classes]` of pixels `[images, height, width]` in `[0,1]`, row by
    /// row.
    pub fn probabilities(&mut self, pixels: &[f32], images: usize) -> Vec<f32> {
        let Some(fused_network) = &mut self.fused_network else {
            return match self.network.device() {
                Device::Cpu => self.by_libtorch(&Tensor::from_slice(pixels), images),
                _ => self.on_device(pixels, images),
            };
        };
        let area = self.network.input().len() as usize;
        assert_eq!(pixels.len(), images * area, "images of the network's size");
        let mut probabilities = Vec::with_capacity(images * self.network.classes());
        for image in pixels.chunks_exact(area) {
            probabilities.extend(softmax(fused_network.logits(image)));
        }
        probabilities
    }

    /// The batch sizes, up to `most`, whose first pass prepares what later passes use.
    pub fn sizes(&self, most: usize) -> Vec<usize> {
        match self.network.device() {
            Device::Cpu => vec![1, most],
            _ => (0..).map(|power| 1 << power).take_while(|size| *size < most).chain([most]).collect(),
        }
    }

    /// Computes the probabilities on another device than the CPU. Batches are filled up to a power of two: for
    /// every new size cuDNN chooses its kernels anew, which takes longer than a pass.
    #[expect(unsafe_code, reason = "the pixels are written where libtorch keeps its values")]
    fn on_device(&mut self, pixels: &[f32], images: usize) -> Vec<f32> {
        let (rows, area) = (images.next_power_of_two(), self.network.input().len());
        if (self.staging.size()[0] as usize) < rows {
            self.staging = staging(rows as i64, area, self.network.device());
        }
        // SAFETY: `staging` makes the memory as zeros, and no handle to it leaves this type. The slice ends
        // before `narrow` makes the next one; that of the pass before was dropped, and so was the device's copy
        // from it, since `by_libtorch` waits for the result.
        let staged = unsafe { values_mut(&mut self.staging) };
        let (own, padding) = staged[..rows * area as usize].split_at_mut(images * area as usize);
        own.copy_from_slice(pixels);
        padding.fill(0.0);
        self.by_libtorch(&self.staging.narrow(0, 0, rows as i64), images)
    }

    /// Computes the probabilities of the first `images` rows of `pixels`.
    fn by_libtorch(&self, pixels: &Tensor, images: usize) -> Vec<f32> {
        let [_, _, h, w] = self.network.input().with_batch(1)[..] else {
            unreachable!("a network takes maps")
        };
        let rows = pixels.numel() as i64 / (h * w);
        // channels_last by hand: with one channel no conversion gives these strides.
        let input = pixels.as_strided([rows, 1, h, w], [h * w, 1, w, 1], None);
        // The copy to the device is not waited for; the one back from it is.
        let input = input.to_device_(self.network.device(), Kind::Float, true, false);
        let output = self.network.predict(&input).narrow(0, 0, images as i64);
        let output = output.to_device(Device::Cpu).to_kind(Kind::Float).contiguous().view(-1);
        Vec::try_from(output).expect("probabilities are a row of float32")
    }
}

/// Allocates memory `[rows, area]` from which `device` copies pixels. It is page-locked if the device is not
/// the CPU, so that the device copies by itself.
fn staging(rows: i64, area: i64, device: Device) -> Tensor {
    let memory = Tensor::zeros([rows, area], (Kind::Float, Device::Cpu));
    match device {
        Device::Cpu => memory,
        // Memory that cannot be locked, for instance for want of it, is copied all the same.
        _ => memory.f_internal_pin_memory(device).unwrap_or(memory),
    }
}

/// Computes exp(x - max) / Σ exp(x - max).
fn softmax(logits: &[f32]) -> impl Iterator<Item = f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponential = move |logit: &f32| (logit - largest).exp();
    let sum: f32 = logits.iter().map(exponential).sum();
    logits.iter().map(move |logit| exponential(logit) / sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{NetworkConfig, Shape};

    #[test]
    fn batches_padded_for_a_device_give_the_same_outputs() {
        let make = || {
            let config = NetworkConfig::tutorial();
            let mut network =
                Network::zeros(&config, Shape::grey(28, 28), 10, Kind::Float, Device::Cpu).unwrap();
            network.initialize(1);
            network.into_predictor(Precision::Float32)
        };
        let mut predictor = make();
        // Smaller after larger: what is left of one batch reaches no other.
        for images in [3, 5, 1, 8, 2] {
            let pixels: Vec<f32> = (0..images * 784).map(|at| (at % 97) as f32 / 96.0).collect();
            let (staged, plain) =
                (predictor.on_device(&pixels, images), make().probabilities(&pixels, images));
            assert_eq!(staged.len(), images * 10);
            assert!(staged.iter().zip(&plain).all(|(a, b)| (a - b).abs() < 1e-5), "{images} images");
        }
        assert_eq!(predictor.staging.size(), [8, 784]);
    }
}
