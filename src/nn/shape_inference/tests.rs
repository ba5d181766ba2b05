//! Shapes of valid networks, and the errors of invalid ones.

use super::*;
use crate::nn::{DropoutMode, LinearConfig};

const MNIST: Shape = Shape::Map { channels: 1, height: 28, width: 28 };

fn error(layers: Vec<LayerKind>) -> String {
    let layers = layers.into_iter().map(|kind| (None, kind)).collect();
    NetworkConfig::from_layers(layers).shapes(MNIST, 10).unwrap_err().to_string()
}

fn conv(out_channels: i64, kernel_size: i64, padding: i64) -> LayerKind {
    LayerKind::Conv(ConvConfig { out_channels, kernel_size, stride: 1, padding })
}

fn linear(out_features: i64) -> LayerKind {
    LayerKind::Linear(LinearConfig { out_features })
}

#[test]
fn the_tutorial_network_has_the_tutorials_shapes() {
    let shapes = NetworkConfig::tutorial().shapes(MNIST, 10).unwrap();
    let outputs: Vec<String> = shapes.iter().map(|shape| shape.output.to_string()).collect();
    assert_eq!(
        outputs,
        [
            "[N,20,28,28]",
            "[N,20,28,28]",
            "[N,20,14,14]",
            "[N,20,14,14]",
            "[N,20,14,14]",
            "[N,20,7,7]",
            "[N,980]",
            "[N,10]"
        ]
    );
    let parameters: i64 = shapes.iter().flat_map(|shape| &shape.parameters).map(ParameterShape::count).sum();
    assert_eq!(parameters, 20_350);
    let multiply_adds: i64 = shapes.iter().map(|shape| shape.multiply_adds).sum();
    assert_eq!(multiply_adds, 392_000 + 1_960_000 + 9_800);
}

#[test]
fn the_deep_network_keeps_its_bounds() {
    let shapes = NetworkConfig::deep().shapes(MNIST, 10).unwrap();
    let parameters: i64 = shapes.iter().flat_map(|shape| &shape.parameters).map(ParameterShape::count).sum();
    assert_eq!(parameters, 330_858);
    let multiply_adds: i64 = shapes.iter().map(|shape| shape.multiply_adds).sum();
    assert_eq!(multiply_adds, 194_688 + 5_308_416 + 1_843_200 + 2_359_296 + 262_144 + 2_560);
    let names: Vec<&str> =
        shapes.iter().flat_map(|shape| &shape.running_statistics).map(|shape| &*shape.name).collect();
    assert_eq!(names[..2], ["bn1.running_mean", "bn1.running_var"]);
    assert_eq!(names.len(), 10);
}

#[test]
fn an_impossible_list_names_the_layer_and_the_shapes() {
    for (layers, expected) in [
        (vec![linear(10)], "layer \"linear1\": linear takes [N,F], but [N,1,28,28] comes in"),
        (vec![LayerKind::Flatten, conv(1, 3, 0)], "layer \"conv1\": conv takes [N,C,H,W], but [N,784]"),
        (vec![conv(4, 29, 0)], "layer \"conv1\": kernel_size 29 is larger than [N,1,28,28] with padding 0"),
        (vec![conv(0, 3, 0)], "layer \"conv1\": out_channels is 0"),
        (vec![conv(4, 3, -1)], "layer \"conv1\": padding is -1"),
        (vec![conv(65_536, 1, 65_536)], "layer \"conv1\": its output [N,65536,131100,131100] is larger"),
        (vec![LayerKind::Flatten, linear(9)], "layer \"linear1\" ends the network with [N,9], but"),
        (vec![conv(4, 3, 0)], "layer \"conv1\" ends the network with [N,4,26,26], but"),
        (
            vec![LayerKind::Flatten, linear(20_000), linear(10)],
            "layer \"linear1\": its weight would have 15680000 values; a network has at most 10000000",
        ),
        (
            vec![LayerKind::Flatten, linear(10_000), linear(500), linear(10)],
            "the network would have 12850500 parameters",
        ),
        (vec![], "a network has 1 to 64 layers, not 0"),
    ] {
        let message = error(layers);
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn a_weight_whose_count_wraps_in_64_bits_is_rejected() {
    let strided = |kernel_size, stride, padding| {
        LayerKind::Conv(ConvConfig { out_channels: 65_536, kernel_size, stride, padding })
    };
    // 65 536 · 65 536 · 65 536 · 65 536 is 2^64.
    let layers = vec![strided(1, 28, 0), strided(65_536, 2, 32_768), LayerKind::Flatten, linear(10)];
    let message = error(layers);
    let expected = "layer \"conv2\": its weight would have 18446744073709551616 values";
    assert!(message.starts_with(expected), "{message}");
}

#[test]
fn dropout_with_a_wrong_probability_or_axis_is_rejected() {
    let dropout = |probability, axes: &[i64]| {
        LayerKind::Dropout(DropoutConfig {
            probability,
            axes: axes.into(),
            mode: DropoutMode::UpscaleInTrain,
        })
    };
    assert!(error(vec![dropout(1.5, &[])]).contains("probability 1.5"));
    assert!(error(vec![dropout(f64::NAN, &[])]).contains("probability NaN"));
    assert!(error(vec![dropout(0.5, &[4])]).contains("axis 4 is not one of [N,1,28,28]"));
    assert!(error(vec![LayerKind::Flatten, dropout(0.5, &[2])]).contains("axis 2"));
    assert!(error(vec![dropout(0.5, &[1, 1])]).contains("axis 1 is given twice"));
}

#[test]
fn batch_normalisation_keeps_the_shape_and_has_four_arrays_of_a_value_a_channel() {
    let norm = |momentum, epsilon| LayerKind::BatchNorm(BatchNormConfig { momentum, epsilon });
    let layers = vec![conv(4, 3, 0), norm(0.1, 1e-5), LayerKind::Flatten, linear(10), norm(1.0, 1.0)];
    let layers = layers.into_iter().map(|kind| (None, kind)).collect();
    let shapes = NetworkConfig::from_layers(layers).shapes(MNIST, 10).unwrap();
    assert_eq!(shapes[1].input, shapes[1].output);
    let named = |shapes: &[ParameterShape]| {
        shapes.iter().map(|shape| format!("{} {:?}", shape.name, shape.dims)).collect::<Vec<_>>()
    };
    assert_eq!(named(&shapes[1].parameters), ["batch_norm1.weight [4]", "batch_norm1.bias [4]"]);
    assert_eq!(
        named(&shapes[4].running_statistics),
        ["batch_norm2.running_mean [10]", "batch_norm2.running_var [10]"]
    );
    for (momentum, epsilon) in [(-0.1, 1e-5), (1.1, 1e-5), (f64::NAN, 1e-5)] {
        assert!(error(vec![norm(momentum, epsilon)]).contains("momentum"));
    }
    for epsilon in [0.0, -1.0, 2.0, f64::NAN] {
        assert!(error(vec![norm(0.1, epsilon)]).contains("epsilon"));
    }
}

#[test]
fn layer_names_differ_and_are_plain() {
    let named = |name: &str| (Some(name.to_owned()), LayerKind::Relu);
    let shapes = |names: [&str; 2]| {
        NetworkConfig::from_layers(names.map(named).into()).shapes(MNIST, 10).unwrap_err().to_string()
    };
    assert!(shapes(["a", "a"]).contains("two layers have this name"));
    assert!(shapes(["a", "b.c"]).contains("name a layer with"));
    assert!(shapes(["", "b"]).contains("name a layer with"));
}

#[test]
fn pooling_leaves_out_windows_beyond_the_border() {
    let pool = LayerKind::MaxPool(PoolConfig { kernel_size: 3, stride: 2 });
    let layers = vec![(None, pool), (None, LayerKind::Flatten), (None, linear(10))];
    let shapes = NetworkConfig::from_layers(layers).shapes(MNIST, 10).unwrap();
    assert_eq!(shapes[0].output, Shape::Map { channels: 1, height: 13, width: 13 });
}
