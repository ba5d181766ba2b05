//! Every finding on a network that has the problem, and none on a network that has not.

use tch::{Device, Kind, Tensor};

use super::*;
use crate::{
    data::{dataset::Dims, synthetic},
    nn::{LayerKind, LinearConfig, NetworkConfig, Shape},
};

fn network(config: &NetworkConfig) -> Network {
    let mut network = Network::zeros(config, Shape::grey(28, 28), 10, Kind::Float, Device::Cpu).unwrap();
    network.initialize(1);
    network
}

fn tutorial() -> Network {
    network(&NetworkConfig::tutorial())
}

fn digits() -> ImageSet {
    synthetic::draw(0, synthetic::DigitStream::Test, 0..300)
}

/// Changes the values of a parameter in row-major order.
fn change(network: &mut Network, name: &str, change: impl FnOnce(&Tensor)) {
    let index = network.parameters().iter().position(|(known, _)| known == name).unwrap();
    let values = network.parameters().view(index).detach().contiguous();
    change(&values);
    network.parameters_mut().assign(index, &values);
}

fn kinds(health: &Health) -> Vec<FindingKind> {
    health.findings.iter().map(|finding| finding.kind).collect()
}

fn examined(network: &Network, set: &ImageSet, start: InitialWeights<'_>) -> Health {
    examine(network, set, start, &|| true).unwrap()
}

#[test]
fn a_sound_network_has_no_findings_and_its_numbers_are_those_of_its_outputs() {
    let network = tutorial();
    let health = examined(&network, &digits(), InitialWeights::Unknown);
    assert_eq!(health.findings, []);
    assert_eq!((health.images, health.saturated_fraction), (300, 0.0));
    let names: Vec<&str> = health.layers.iter().map(|layer| layer.name.as_str()).collect();
    assert_eq!(names, ["conv1", "relu1", "pool1", "conv2", "relu2", "pool2", "fc"]);

    let set = crate::data::DeviceSet::new(&digits(), Device::Cpu);
    let batch = set.range(0, 300, Kind::Float);
    let mut relu2 = Tensor::new();
    let logits = network.forward_with(&batch.images, &mut |layer, output| {
        if layer == 4 {
            relu2 = output.shallow_clone();
        }
    });
    let channel = relu2.select(1, 7).to_kind(Kind::Double);
    let layer = &health.layers[4];
    assert!((layer.means[7] - channel.mean(Kind::Double).double_value(&[])).abs() < 1e-9);
    assert!((layer.stds[7] - channel.std(false).double_value(&[])).abs() < 1e-6);
    let zeros = channel.eq(0.0).to_kind(Kind::Double).mean(Kind::Double).double_value(&[]);
    assert!((layer.zero_fractions[7] - zeros).abs() < 1e-12);
    let right = logits.argmax(-1, false).eq_tensor(&batch.labels).sum(Kind::Int64).int64_value(&[]);
    assert_eq!(health.accuracy, right as f64 / 300.0);
}

#[test]
fn a_bias_of_minus_100_is_a_dead_channel_and_named() {
    let mut network = tutorial();
    change(&mut network, "conv1.bias", |bias| {
        let _ = bias.get(3).fill_(-100.0);
    });
    let health = examined(&network, &digits(), InitialWeights::Unknown);
    assert_eq!(kinds(&health), [FindingKind::DeadChannels]);
    let finding = &health.findings[0];
    assert_eq!((finding.layer.as_str(), &finding.channels[..]), ("relu1", &[3][..]));
    assert_eq!(finding.places, ["relu1[3]"]);
    assert!(finding.message.starts_with("relu1[3] is 0 for every one of 300 images"), "{}", finding.message);
    assert_eq!(health.layers[1].dead_channels, [3]);
    // The pool behind the dead ReLU is zero as well; only its statistics show it.
    assert_eq!((health.layers[2].zero_fractions[3], health.layers[2].dead_channels.len()), (1.0, 0));
}

#[test]
fn two_kernels_that_point_the_same_way_are_reported_with_their_cosine() {
    let mut network = tutorial();
    change(&mut network, "conv2.weight", |weight| {
        weight.get(11).copy_(&(weight.get(4) * 3.0));
        // The opposite direction is not a duplicate.
        weight.get(12).copy_(&(weight.get(5) * -1.0));
    });
    let health = examined(&network, &digits(), InitialWeights::Unknown);
    assert_eq!(kinds(&health), [FindingKind::DuplicateKernels]);
    let finding = &health.findings[0];
    assert_eq!((&finding.channels[..], finding.parameter.as_deref()), (&[4, 11][..], Some("conv2.weight")));
    assert!((finding.measurements[0].value - 1.0).abs() < 1e-6);
    assert_eq!(finding.measurements[0].threshold, Some(0.98));
}

#[test]
fn kernels_just_below_the_threshold_are_not_reported_and_many_pairs_are_counted() {
    let mut network = tutorial();
    change(&mut network, "conv1.weight", |weight| {
        // The cosine with the first is 0.97: a·u + b·v with u and v orthogonal.
        let u = weight.get(0).view(-1) / weight.get(0).norm();
        let v = weight.get(1).view(-1);
        let v = &v - &u * v.dot(&u);
        let v = &v / v.norm();
        let mixed = u * 0.97 + v * (1.0f64 - 0.97 * 0.97).sqrt();
        weight.get(1).copy_(&mixed.view([1, 5, 5]));
    });
    assert_eq!(examined(&network, &digits(), InitialWeights::Unknown).findings, []);
    change(&mut network, "conv1.weight", |weight| {
        let first = weight.get(0).unsqueeze(0).copy();
        weight.shallow_clone().copy_(&first.expand([20, 1, 5, 5], false));
    });
    let health = examined(&network, &digits(), InitialWeights::Unknown);
    assert_eq!(health.findings.len(), 20);
    let last = &health.findings[19];
    assert_eq!(last.measurements[1].value, f64::from(20 * 19 / 2 - 20));
    assert!(last.message.ends_with("170 more pairs of this layer are not listed."), "{}", last.message);
}

#[test]
fn a_weight_of_nan_is_reported_with_the_first_layer_that_outputs_it() {
    let mut network = tutorial();
    change(&mut network, "conv2.weight", |weight| {
        let _ = weight.get(2).get(0).get(1).get(1).fill_(f64::NAN);
    });
    let health = examined(&network, &digits(), InitialWeights::Unknown);
    assert_eq!(kinds(&health), [FindingKind::NotFinite; 2]);
    let [weight, output] = &health.findings[..] else { panic!("two findings") };
    assert_eq!((weight.places[0].as_str(), weight.measurements[0].value), ("conv2.weight", 1.0));
    assert_eq!((output.layer.as_str(), &output.channels[..]), ("conv2", &[2][..]));
    assert!(health.layers[5].means[2].is_nan(), "the layers behind are not finite either");
    // NaN is not 0: the channel is not dead.
    assert!(health.layers[4].dead_channels.is_empty());
}

#[test]
fn a_saturated_softmax_is_reported_with_the_misclassified_share() {
    let mut network = tutorial();
    change(&mut network, "fc.weight", |weight| {
        let mut weight = weight.shallow_clone();
        weight *= 1e4;
    });
    let health = examined(&network, &digits(), InitialWeights::Unknown);
    assert_eq!(kinds(&health), [FindingKind::SaturatedSoftmax]);
    assert!(health.saturated_fraction > 0.9, "{}", health.saturated_fraction);
    let wrong = health.saturated_wrong_fraction.unwrap();
    assert!((wrong - (1.0 - health.accuracy)).abs() < 0.1, "an untrained network is sure and wrong: {wrong}");
    assert_eq!(health.findings[0].layer, "fc");
}

/// A linear layer whose logits differ by `margin` in favour of class 0 for every image.
fn with_margin(margin: f64) -> Network {
    let layers =
        vec![(None, LayerKind::Flatten), (None, LayerKind::Linear(LinearConfig { out_features: 10 }))];
    let config = NetworkConfig::from_layers(layers);
    let mut network = Network::zeros(&config, Shape::grey(28, 28), 10, Kind::Float, Device::Cpu).unwrap();
    let mut bias = [0.0f32; 10];
    bias[0] = margin as f32;
    network.parameters_mut().assign(1, &Tensor::from_slice(&bias));
    network
}

#[test]
fn one_is_what_float32_rounds_to_one() {
    let set = ImageSet::new(Dims::MNIST, vec![0; 784], vec![0]).unwrap();
    for margin in [19.0f64, 19.4, 19.6, 20.0] {
        // Nine other classes share the rest of the probability.
        let probability = 1.0 / (1.0 + 9.0 * (-margin).exp());
        let expected = f64::from(u8::from(probability as f32 == 1.0));
        let found = examined(&with_margin(margin), &set, InitialWeights::Unknown).saturated_fraction;
        assert_eq!(found, expected, "margin {margin}");
    }
}

#[test]
fn weights_that_never_moved_are_reported_by_parameter_and_by_kernel() {
    let start = tutorial();
    let mut network = tutorial();
    // conv1 does not move; in conv2 all kernels but 6 move; fc moves. The biases of both convolutions stay at
    // 0.
    change(&mut network, "conv2.weight", |weight| {
        let kept = weight.get(6).copy();
        let mut weight = weight.shallow_clone();
        weight *= 1.01;
        weight.get(6).copy_(&kept);
    });
    change(&mut network, "conv2.bias", |bias| {
        let _ = bias.narrow(0, 0, 6).fill_(0.01);
    });
    for name in ["fc.weight", "fc.bias"] {
        change(&mut network, name, |values| {
            let mut values = values.shallow_clone();
            values += 0.01;
        });
    }
    let health = examined(&network, &digits(), InitialWeights::Known(&start));
    assert_eq!(kinds(&health), [FindingKind::NeverMoved; 3]);
    let places: Vec<&str> = health.findings.iter().map(|finding| finding.places[0].as_str()).collect();
    assert_eq!(places, ["conv1.weight", "conv1.bias", "conv2.weight[6]"]);
    assert_eq!((health.findings[0].channels.len(), &health.findings[2].channels[..]), (0, &[6][..]));
    assert!(
        health.findings[2].message.starts_with("conv2.weight[6] is bit for bit equal to the initial weights")
    );
    assert!(kinds(&examined(&network, &digits(), InitialWeights::Unknown)).is_empty());
}

#[test]
fn findings_are_sorted_by_severity() {
    let mut network = tutorial();
    change(&mut network, "conv1.weight", |weight| {
        weight.get(1).copy_(&weight.get(0));
    });
    change(&mut network, "conv1.bias", |bias| {
        let _ = bias.get(3).fill_(-100.0);
    });
    change(&mut network, "fc.bias", |bias| {
        let _ = bias.get(9).fill_(f64::INFINITY);
    });
    let health = examined(&network, &digits(), InitialWeights::Unknown);
    let mut sorted = kinds(&health);
    sorted.sort();
    assert_eq!(kinds(&health), sorted);
    assert_eq!(sorted[0], FindingKind::NotFinite);
}

#[test]
fn an_examination_without_a_caller_stops_early() {
    let network = network(&NetworkConfig::tutorial());
    let asked = std::cell::Cell::new(0);
    let wanted = || {
        asked.set(asked.get() + 1);
        asked.get() < 2
    };
    assert!(
        examine(
            &network,
            &synthetic::draw(0, synthetic::DigitStream::Test, 0..1000),
            InitialWeights::Unknown,
            &wanted
        )
        .is_none()
    );
    assert_eq!(asked.get(), 2);
}
