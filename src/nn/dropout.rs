//! Dropout with Paddle's axes and modes. Masks come from the project's own random streams, not
//! from libtorch's process-wide generator, so that a step's mask is a function of its seed; each device
//! draws its own, and all devices draw the same.

use tch::{Device, Kind, Tensor};

use super::{DropoutConfig, DropoutMode};
use crate::data::{CounterStream, Stream};

/// What the random numbers of a training step are a function of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepSeed {
    pub seed: u64,
    /// The epoch, counted from 1.
    pub epoch: u32,
    /// The step in the run, counted from 1.
    pub step: u32,
}

impl StepSeed {
    /// The random numbers of one layer, counted from 0, in this step.
    fn of_layer(self, layer: usize) -> CounterStream {
        // A layer's own seed: 64 layers at most, so that two layers of two runs meet only by a
        // chance of 2⁻⁶⁴.
        let seed = crate::data::stream_seed(self.seed, Stream::Dropout, layer as u64, 0);
        CounterStream::new(seed, Stream::Dropout, u64::from(self.epoch), u64::from(self.step))
    }
}

/// Returns x as training sees it: masked, and scaled if the mode says so.
pub(super) fn train(x: &Tensor, config: &DropoutConfig, layer: usize, at: StepSeed) -> Tensor {
    if config.probability == 0.0 {
        return x.shallow_clone();
    }
    apply(x, &mask(&x.size(), config, at.of_layer(layer), x.device()), config)
}

/// Returns x as evaluation sees it: x·(1−p) in `downscale_in_infer`, x itself otherwise.
pub(super) fn evaluate(x: &Tensor, config: &DropoutConfig) -> Tensor {
    match config.mode {
        DropoutMode::UpscaleInTrain => x.shallow_clone(),
        DropoutMode::DownscaleInInfer => x * (1.0 - config.probability),
    }
}

/// Computes x·mask, divided by 1−p in `upscale_in_train`; p = 1 gives zeros, never NaN. Autograd takes the
/// gradient with the same mask and factor.
fn apply(x: &Tensor, mask: &Tensor, config: &DropoutConfig) -> Tensor {
    let masked = x * mask.to_kind(x.kind());
    match config.mode {
        DropoutMode::UpscaleInTrain if config.probability < 1.0 => masked / (1.0 - config.probability),
        DropoutMode::UpscaleInTrain | DropoutMode::DownscaleInInfer => masked,
    }
}

/// Draws the mask, which is true where a value is kept. It has x's size on the given axes and 1 on the others,
/// or x's size if no axis is given. A value is dropped if its 32-bit number is among the lowest p·2³².
fn mask(size: &[i64], config: &DropoutConfig, numbers: CounterStream, device: Device) -> Tensor {
    let on_axis = |axis: usize| config.axes.is_empty() || config.axes.contains(&(axis as i64));
    let dims: Vec<i64> =
        size.iter().enumerate().map(|(axis, &extent)| if on_axis(axis) { extent } else { 1 }).collect();
    // From the lowest 32-bit number on; p = 1 drops all, also the highest.
    let first_kept = (config.probability * 2f64.powi(32)).round() as i64 + i64::from(i32::MIN);
    if first_kept > i64::from(i32::MAX) {
        return Tensor::zeros(&dims, (Kind::Bool, device));
    }
    numbers.int32(dims.iter().product::<i64>() as usize, device).ge(first_kept).view(&dims[..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: StepSeed = StepSeed { seed: 1, epoch: 1, step: 1 };

    fn config(probability: f64, axes: &[i64]) -> DropoutConfig {
        DropoutConfig { probability, axes: axes.to_vec(), mode: DropoutMode::UpscaleInTrain }
    }

    fn ones() -> Tensor {
        Tensor::ones([8, 6, 5, 5], (Kind::Float, Device::Cpu))
    }

    fn mean(x: &Tensor) -> f64 {
        x.mean(Kind::Double).double_value(&[])
    }

    #[test]
    fn a_mask_is_a_function_of_seed_epoch_step_and_layer() {
        let config = config(0.5, &[]);
        let base = train(&ones(), &config, 0, AT);
        assert_eq!(base, train(&ones(), &config, 0, AT));
        for (layer, at) in [
            (1, AT),
            (0, StepSeed { seed: 2, ..AT }),
            (0, StepSeed { epoch: 2, ..AT }),
            (0, StepSeed { step: 2, ..AT }),
        ] {
            assert_ne!(base, train(&ones(), &config, layer, at));
        }
    }

    #[test]
    fn the_expected_value_is_preserved() {
        let upscaled = train(&ones(), &config(0.3, &[]), 0, AT);
        assert!((mean(&upscaled) - 1.0).abs() < 0.1);
        let downscale = DropoutConfig { mode: DropoutMode::DownscaleInInfer, ..config(0.3, &[]) };
        assert!((mean(&train(&ones(), &downscale, 0, AT)) - 0.7).abs() < 0.07);
        assert!((mean(&evaluate(&ones(), &downscale)) - 0.7).abs() < 1e-6);
        assert_eq!(evaluate(&ones(), &config(0.3, &[])), ones());
    }

    #[test]
    fn p_0_changes_nothing_and_p_1_gives_zeros() {
        assert_eq!(train(&ones(), &config(0.0, &[]), 0, AT), ones());
        assert_eq!(train(&ones(), &config(1.0, &[]), 0, AT), ones() * 0.0);
        // The next number below 1 drops all but the highest 32-bit number, and fits its comparison.
        let nearly = config(1.0 - 2f64.powi(-32), &[]);
        assert_eq!(mask(&[1000], &nearly, AT.of_layer(0), Device::Cpu).sum(Kind::Int64).int64_value(&[]), 0);
    }

    #[test]
    fn a_mask_is_shared_along_the_axes_that_are_not_listed() {
        let mask_of =
            |axes: &[i64]| mask(&[4, 3, 2, 2], &config(0.5, axes), AT.of_layer(0), Device::Cpu).size();
        assert_eq!(mask_of(&[]), [4, 3, 2, 2]);
        assert_eq!(mask_of(&[0]), [4, 1, 1, 1]);
        assert_eq!(mask_of(&[1]), [1, 3, 1, 1]);
        assert_eq!(mask_of(&[0, 1]), [4, 3, 1, 1]);
    }

    /// Paddle's own outputs and gradients for the masks that Paddle drew.
    #[test]
    fn outputs_and_gradients_are_paddles() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/paddle/dropout.safetensors");
        let golden: std::collections::HashMap<String, Tensor> =
            Tensor::read_safetensors(path).unwrap().into_iter().collect();
        let mut checked = 0;
        for (name, expected) in golden.iter().filter(|(name, _)| name.ends_with(".out")) {
            let case = Case::parse(name);
            let x = golden[case.input].set_requires_grad(true);
            let out = match golden.get(&name.replace(".out", ".mask")) {
                Some(mask) if case.training => apply(&x, mask, &case.config),
                _ if case.training => train(&x, &case.config, 0, AT),
                _ => evaluate(&x, &case.config),
            };
            assert!(out.allclose(expected, 1e-6, 1e-7, false), "{name}");
            if let Some(expected) = golden.get(&name.replace(".out", ".grad_of_sum")) {
                let gradient = Tensor::run_backward(&[out.sum(x.kind())], &[&x], false, false);
                assert!(gradient[0].allclose(expected, 1e-6, 1e-7, false), "gradient of {name}");
            }
            checked += 1;
        }
        assert!(checked >= 40, "{checked} cases");
    }

    struct Case<'a> {
        input: &'a str,
        config: DropoutConfig,
        training: bool,
    }

    impl<'a> Case<'a> {
        /// From `x2.p0.3.axis0.upscale_in_train.train.out`.
        fn parse(name: &'a str) -> Self {
            let (input, rest) = name.split_once(".p").unwrap();
            let (probability, rest) = rest.split_once(".axis").unwrap();
            let parts: Vec<&str> = rest.split('.').collect();
            let axes = parts[0].chars().filter_map(|c| c.to_digit(10)).map(i64::from).collect();
            let mode = match parts[1] {
                "upscale_in_train" => DropoutMode::UpscaleInTrain,
                "downscale_in_infer" => DropoutMode::DownscaleInInfer,
                other => panic!("{other}"),
            };
            let config = DropoutConfig { probability: probability.parse().unwrap(), axes, mode };
            Self { input, config, training: parts[2] == "train" }
        }
    }
}
