//! The inspection itself: every layer of a network with its shapes, and on request its contents.

use tch::Tensor;

use super::{Error, LayerReport, Options, ParameterReport, Report, Statistics, contents::ContentsCollector};
use crate::nn::{LayerKind, Mode, Network, ParameterShape};

/// Shows a network: what the tutorial's `check_shape` prints, and with contents what its
/// `check_content` prints.
pub fn inspect(network: &Network, options: &Options) -> Result<Report, Error> {
    let collector = match &options.contents {
        Some(contents) => Some(ContentsCollector::new(network, contents)?),
        None => None,
    };
    let bins = options.contents.as_ref().map(|contents| contents.histogram_bins);
    Ok(report(network, options.batch_size, collector, bins))
}

/// Shows a batch (images `[N,1,H,W]` in `[0,1]`) on its way through a network; with a seed that draws a
/// channel of every layer also what came out of it for the first image, and the share of zeros over
/// the batch.
pub fn inspect_batch(network: &Network, images: &Tensor, mode: Mode, channel_seed: Option<u64>) -> Report {
    let collector = channel_seed.map(|seed| ContentsCollector::of_batch(network, images, mode, seed));
    report(network, images.size()[0], collector, None)
}

/// `bins` none: statistics in short.
fn report(
    network: &Network,
    batch: i64,
    mut collector: Option<ContentsCollector>,
    bins: Option<usize>,
) -> Report {
    let mut numbers = 0..;
    let mut layers = Vec::new();
    for (index, (config, shape)) in network.config().layers.iter().zip(network.shapes()).enumerate() {
        let tutorial_name = match config.kind {
            LayerKind::Flatten => None,
            _ => numbers.next().map(|number: i64| format!("outputs{}", number + 1)),
        };
        let statistics = |parameter: &ParameterShape| {
            collector.is_some().then(|| {
                let values = network.array(&parameter.name).expect("a layer's arrays are the network's");
                match bins {
                    Some(bins) => Statistics::in_full(values, bins),
                    None => Statistics::of(values),
                }
            })
        };
        let reports = |shapes: &[ParameterShape]| {
            let report = |shape: &ParameterShape| ParameterReport {
                shape: shape.clone(),
                statistics: statistics(shape),
            };
            shapes.iter().map(report).collect()
        };
        layers.push(LayerReport {
            name: config.name.clone(),
            kind: config.kind.clone(),
            tutorial_name,
            input_shape: shape.input.with_batch(batch),
            output_shape: shape.output.with_batch(batch),
            parameters: reports(&shape.parameters),
            running_statistics: reports(&shape.running_statistics),
            multiply_adds: shape.multiply_adds * batch,
            output: collector.as_mut().and_then(|collector| collector.take_output(index)),
        });
    }
    let sample_images = collector.as_ref().map(ContentsCollector::sample_images);
    let (logits, probabilities) = collector.map(ContentsCollector::into_prediction).unwrap_or_default();
    Report {
        input_shape: network.input().with_batch(batch),
        total_parameters: network.total_parameters(),
        total_multiply_adds: layers.iter().map(|layer| layer.multiply_adds).sum(),
        layers,
        logits,
        probabilities,
        sample_images,
        bytes_per_value: network.kind().elt_size_in_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;
    use crate::{
        data::{ImageSet, dataset::Dims},
        inspect::{Channels, Contents},
        nn::{ConvConfig, LinearConfig, NetworkConfig, PoolConfig, Shape},
    };

    fn network() -> Network {
        let config = NetworkConfig::tutorial();
        let mut network = Network::zeros(&config, Shape::grey(28, 28), 10, Kind::Float, Device::Cpu).unwrap();
        network.initialize(1);
        network
    }

    /// Two pictures: one all ink, one with ink in its upper half.
    fn sample() -> ImageSet {
        let pixels = [vec![255; 784], vec![255; 392], vec![0; 392]].concat();
        ImageSet::new(Dims::MNIST, pixels, vec![0, 1]).unwrap()
    }

    fn contents(layers: &[&str], channels: Channels) -> Contents {
        let layers = layers.iter().map(|&name| name.to_owned()).collect();
        let image = vec![0.5; 784];
        Contents { image, layers, channels, sample: Some(sample()), histogram_bins: 4, max_values: 1 << 22 }
    }

    fn show(network: &Network, contents: Contents) -> Result<Report, Error> {
        inspect(network, &Options { batch_size: 1, contents: Some(contents) })
    }

    #[test]
    fn shapes_are_what_check_shape_prints() {
        let report = inspect(&network(), &Options { batch_size: 3, contents: None }).unwrap();
        assert_eq!(report.input_shape, [3, 1, 28, 28]);
        assert_eq!(report.layers[3].output_shape, [3, 20, 14, 14]);
        assert_eq!((report.total_parameters, report.total_multiply_adds), (20_350, 3 * 2_361_800));
        let names: Vec<_> = report.layers.iter().filter_map(|layer| layer.tutorial_name.as_deref()).collect();
        assert_eq!(names[0], "outputs1");
        assert_eq!(names.last(), Some(&"outputs7"));
        assert!(report.layers.iter().all(|layer| layer.output.is_none()));
        assert_eq!(report.layers[0].parameters[0].statistics, None);
    }

    #[test]
    fn a_channel_shows_its_kernel_its_bias_and_its_output() {
        let mut network = network();
        network.parameters_mut().assign(1, &Tensor::full([20], 0.25, (Kind::Float, Device::Cpu)));
        let report = show(&network, contents(&["conv1", "fc"], Channels::Chosen(vec![7]))).unwrap();
        let channel = &report.layers[0].output.as_ref().unwrap().channels[0];
        assert_eq!((channel.channel, channel.bias), (7, Some(0.25)));
        assert_eq!((channel.kernel_shape.clone(), channel.kernel.len()), (vec![1, 5, 5], 25));
        assert_eq!((channel.output_shape.clone(), channel.output.len()), (vec![28, 28], 784));
        // In the middle of a constant image a convolution gives the sum of its kernel.
        let expected = 0.5 * channel.kernel.iter().sum::<f64>() + 0.25;
        assert!((channel.output[14 * 28 + 14] - expected).abs() < 1e-5);
        let fc = &report.layers[7].output.as_ref().unwrap().channels[0];
        assert_eq!((fc.kernel_shape.clone(), fc.output.len()), (vec![980], 1));
        assert!(report.layers[3].output.is_none(), "conv2 was not asked for");
        assert!((report.probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_channel_that_is_never_active_is_named() {
        let mut network = network();
        // Above 0, so that every other channel is active where the image is blank.
        let mut bias = vec![0.1f32; 20];
        bias[3] = -100.0;
        network.parameters_mut().assign(1, &Tensor::from_slice(&bias));
        let report = show(&network, contents(&["relu1"], Channels::Random(0))).unwrap();
        let sample = report.layers[1].output.as_ref().unwrap().sample.as_ref().unwrap();
        assert_eq!(sample.dead_channels, [3]);
        assert_eq!(sample.zero_fractions[3], 1.0);
        assert_eq!(sample.zero_fractions.len(), 20);
        assert_eq!(report.sample_images, Some(2));
    }

    #[test]
    fn a_random_channel_is_a_function_of_the_seed() {
        let chosen = |seed| {
            let report = show(&network(), contents(&[], Channels::Random(seed))).unwrap();
            let channel = |layer: &LayerReport| layer.output.as_ref().unwrap().channels[0].channel;
            report.layers.iter().map(channel).collect::<Vec<_>>()
        };
        assert_eq!(chosen(1), chosen(1));
        assert_ne!(chosen(1), chosen(2));
    }

    #[test]
    fn every_channel_is_shown_once_in_the_requested_order() {
        let twice: Vec<i64> = (0..20).rev().chain(0..20).collect();
        let report = show(&network(), contents(&[], Channels::Chosen(twice))).unwrap();
        let channels = &report.layers[2].output.as_ref().unwrap().channels;
        let numbers: Vec<i64> = channels.iter().map(|channel| channel.channel).collect();
        assert_eq!(numbers, (0..20).rev().collect::<Vec<_>>());
        assert_eq!(report.layers[7].output.as_ref().unwrap().channels.len(), 10);
    }

    #[test]
    fn contents_too_large_for_a_response_are_rejected_unless_fewer_layers_are_named() {
        let conv =
            |padding| LayerKind::Conv(ConvConfig { out_channels: 1, kernel_size: 1, stride: 1, padding });
        let shrink = LayerKind::MaxPool(PoolConfig { kernel_size: 400, stride: 400 });
        let linear = LayerKind::Linear(LinearConfig { out_features: 10 });
        let kinds = [conv(486), conv(0), conv(0), conv(0), conv(0), shrink, LayerKind::Flatten, linear];
        let layers = kinds.into_iter().map(|kind| (None, kind)).collect();
        let config = NetworkConfig::from_layers(layers);
        let network = Network::zeros(&config, Shape::grey(28, 28), 10, Kind::Float, Device::Cpu).unwrap();
        let ask = |layers: &[&str]| {
            let mut contents = contents(layers, Channels::Random(0));
            contents.sample = None;
            show(&network, contents)
        };
        let refused = ask(&[]).unwrap_err();
        assert!(matches!(refused, Error::TooMuch { max: 4_194_304, .. }), "{refused}");
        assert!(ask(&["conv1"]).is_ok());
    }

    #[test]
    fn layers_and_channels_that_do_not_exist_are_rejected() {
        let error = |layers: &[&str], channels| {
            show(&network(), contents(layers, Channels::Chosen(channels))).unwrap_err().to_string()
        };
        assert!(
            error(&["conv9"], vec![0])
                .starts_with("there is no layer \"conv9\": the layers are conv1, relu1")
        );
        assert!(error(&["conv1"], vec![20]).starts_with("channel 20 is in none"));
        assert!(error(&[], vec![-1]).starts_with("channel -1 is in none"));
        // fc has outputs 0 to 9 only, and conv1 shows 15.
        let report = show(&network(), contents(&[], Channels::Chosen(vec![15]))).unwrap();
        assert!(report.layers[7].output.as_ref().unwrap().channels.is_empty());
        assert_eq!(report.layers[0].output.as_ref().unwrap().channels[0].channel, 15);
        let short = Contents { image: vec![0.0; 9], ..contents(&[], Channels::Random(0)) };
        assert_eq!(show(&network(), short).unwrap_err(), Error::ImageSize { actual: 9, expected: 784 });
    }
}
