//! Batch normalisation, computed by libtorch; the formula is with [`BatchNormConfig`].

use tch::Tensor;

use super::{BatchNormConfig, Mode};

/// The arrays of a layer, each with one value per channel.
pub(super) struct BatchNormArrays<'a> {
    pub weight: &'a Tensor,
    pub bias: &'a Tensor,
    pub running_mean: &'a Tensor,
    pub running_var: &'a Tensor,
}

/// Normalises x, `[N,C,H,W]` or `[N,C]`. Training changes the running statistics in place, unless the batch
/// has only one value per channel, as the last one of an epoch may: one value has no variance, so that such
/// a batch is normalised with the running statistics.
pub(super) fn forward(
    x: &Tensor,
    config: &BatchNormConfig,
    arrays: &BatchNormArrays<'_>,
    mode: Mode,
) -> Tensor {
    let per_channel = x.numel() as i64 / x.size()[1];
    let training = matches!(mode, Mode::Train(_)) && per_channel > 1;
    // Statistics of bfloat16 would be too coarse.
    x.to_kind(arrays.weight.kind()).batch_norm(
        Some(arrays.weight),
        Some(arrays.bias),
        Some(arrays.running_mean),
        Some(arrays.running_var),
        training,
        config.momentum,
        config.epsilon,
        true,
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tch::{Device, Kind};

    use super::*;
    use crate::nn::{LayerKind, LinearConfig, Network, NetworkConfig, Shape, StepSeed};

    const TRAIN: Mode = Mode::Train(StepSeed { seed: 0, epoch: 1, step: 1 });

    fn network(kinds: Vec<LayerKind>) -> Network {
        let layers = kinds.into_iter().map(|kind| (None, kind)).collect();
        let config = NetworkConfig::from_layers(layers);
        let mut network = Network::zeros(&config, Shape::grey(1, 2), 2, Kind::Double, Device::Cpu).unwrap();
        network.initialize(1);
        network
    }

    fn norm() -> LayerKind {
        LayerKind::BatchNorm(BatchNormConfig { momentum: 0.5, epsilon: 0.25 })
    }

    /// Two features, each normalised by itself.
    fn features() -> Network {
        network(vec![LayerKind::Flatten, norm()])
    }

    fn pixels(rows: &[f64]) -> Tensor {
        Tensor::from_slice(rows).view([-1, 1, 1, 2])
    }

    fn values(tensor: &Tensor) -> Vec<f64> {
        Vec::try_from(tensor.detach().contiguous().view(-1)).unwrap()
    }

    fn check(found: &Tensor, expected: &[f64]) {
        let found = values(found);
        let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(found.len() == expected.len() && off < 1e-12, "{found:?} is not {expected:?}");
    }

    #[test]
    fn training_and_evaluation_are_those_computed_by_hand() {
        let mut network = features();
        let parts = ["weight", "bias", "running_mean", "running_var"];
        let values = [[2.0, 1.0], [0.5, 0.0], [0.0, 1.0], [1.0, 4.0]];
        let arrays = parts
            .iter()
            .zip(values)
            .map(|(part, row)| (format!("batch_norm1.{part}"), Tensor::from_slice(&row)));
        network.load(&arrays.collect()).unwrap();

        // The values 1, 3, 5 have mean 3, variance 8/3 and, unbiased, 4; 0, 0, 6 have mean 2, variance 8 and 12.
        let x = pixels(&[1.0, 0.0, 3.0, 0.0, 5.0, 6.0]);
        let first = |x: f64| 2.0 * (x - 3.0) / (8.0f64 / 3.0 + 0.25).sqrt() + 0.5;
        let second = |x: f64| (x - 2.0) / 8.25f64.sqrt();
        let expected = [first(1.0), second(0.0), first(3.0), second(0.0), first(5.0), second(6.0)];
        check(&network.forward(&x, TRAIN), &expected);
        check(network.array("batch_norm1.running_mean").unwrap(), &[1.5, 1.5]);
        check(network.array("batch_norm1.running_var").unwrap(), &[2.5, 8.0]);

        let first = |x: f64| 2.0 * (x - 1.5) / 2.75f64.sqrt() + 0.5;
        let second = |x: f64| (x - 1.5) / 8.25f64.sqrt();
        let evaluated = network.forward(&pixels(&[1.0, 6.0]), Mode::Evaluate);
        check(&evaluated, &[first(1.0), second(6.0)]);
        check(network.array("batch_norm1.running_mean").unwrap(), &[1.5, 1.5]);
    }

    #[test]
    fn a_map_is_normalised_over_its_pixels_too() {
        let network = network(vec![norm(), LayerKind::Flatten]);
        let x = pixels(&[1.0, 3.0, 5.0, 7.0]);
        let expected = [1.0, 3.0, 5.0, 7.0].map(|x: f64| (x - 4.0) / 5.25f64.sqrt());
        check(&network.forward(&x, TRAIN), &expected);
    }

    #[test]
    fn inspecting_a_training_batch_leaves_the_statistics_as_they_are() {
        let network = features();
        let x = pixels(&[1.0, 0.0, 3.0, 0.0]);
        let observed = network.forward_in(TRAIN, &x, &mut |_, _| ());
        check(network.array("batch_norm1.running_mean").unwrap(), &[0.0, 0.0]);
        assert_eq!(observed, network.forward(&x, TRAIN));
    }

    #[test]
    fn a_single_value_a_channel_is_normalised_with_the_running_statistics() {
        let network = features();
        let y = network.forward(&pixels(&[3.0, 1.0]), TRAIN);
        check(&y, &[3.0 / 1.25f64.sqrt(), 1.0 / 1.25f64.sqrt()]);
        check(network.array("batch_norm1.running_mean").unwrap(), &[0.0, 0.0]);
        check(network.array("batch_norm1.running_var").unwrap(), &[1.0, 1.0]);
        // Two pixels of one image are enough for a map.
        let map = self::network(vec![norm(), LayerKind::Flatten]);
        check(&map.forward(&pixels(&[1.0, 3.0]), TRAIN), &[-1.0 / 1.25f64.sqrt(), 1.0 / 1.25f64.sqrt()]);
    }

    #[test]
    fn a_network_is_saved_loaded_and_copied_with_its_statistics() {
        let network = network(vec![norm(), LayerKind::Flatten]);
        let _ = network.forward(&pixels(&[1.0, 3.0, 5.0, 7.0]), TRAIN);
        assert_eq!(network.total_parameters(), 2, "running statistics are not trained");
        let exported: BTreeMap<String, Tensor> = network.export().into_iter().collect();
        let names: Vec<&str> = exported.keys().map(String::as_str).collect();
        let parts = ["bias", "running_mean", "running_var", "weight"];
        assert_eq!(names, parts.map(|part| format!("batch_norm1.{part}")));
        let mut other = self::network(vec![norm(), LayerKind::Flatten]);
        other.load(&exported).unwrap();
        let x = pixels(&[2.0, -1.0]);
        let output = values(&network.forward(&x, Mode::Evaluate));
        assert_eq!(values(&other.forward(&x, Mode::Evaluate)), output);
        let copy = network.deep_copy();
        let _ = network.forward(&pixels(&[9.0, 9.0, 0.0, 0.0]), TRAIN);
        assert_eq!(values(&copy.forward(&x, Mode::Evaluate)), output);
        assert_ne!(values(&network.forward(&x, Mode::Evaluate)), output);
    }

    #[test]
    fn arrays_that_are_not_the_networks_change_nothing() {
        let mut network = features();
        let message = |network: &mut Network, change: fn(&mut BTreeMap<String, Tensor>)| {
            let mut arrays = network.export().into_iter().collect();
            change(&mut arrays);
            network.load(&arrays).unwrap_err().to_string()
        };
        let missing = message(&mut network, |arrays| drop(arrays.remove("batch_norm1.running_mean")));
        assert_eq!(missing, "parameter \"batch_norm1.running_mean\" is missing");
        let foreign = message(&mut network, |arrays| {
            arrays.insert("batch_norm2.bias".to_owned(), Tensor::from_slice(&[1.0, 1.0]));
        });
        assert_eq!(foreign, "parameter \"batch_norm2.bias\" is not one of the network's");
        let negative = message(&mut network, |arrays| {
            arrays.insert("batch_norm1.running_var".to_owned(), Tensor::from_slice(&[1.0, -1.0]));
        });
        assert_eq!(negative, "parameter \"batch_norm1.running_var\" holds a variance below 0");
        check(network.array("batch_norm1.running_var").unwrap(), &[1.0, 1.0]);
    }

    #[test]
    fn a_relu_in_place_changes_neither_values_nor_gradients() {
        let linear = LayerKind::Linear(LinearConfig { out_features: 2 });
        let kinds = vec![norm(), LayerKind::Relu, LayerKind::Flatten, linear, LayerKind::Relu];
        let network = network(kinds);
        let x = pixels(&[1.0, -3.0, 0.0, 7.0]).set_requires_grad(true);
        let gradient = |y: &Tensor| Tensor::run_backward(&[y.square().sum(y.kind())], &[&x], false, false);
        let (fused, plain) = (network.forward(&x, Mode::Evaluate), network.forward_with(&x, &mut |_, _| ()));
        assert_eq!(fused, plain);
        assert_eq!(gradient(&fused), gradient(&plain));
    }
}
