//! The contents of the layers: for one image the outputs of chosen channels with the weights that
//! made them; over a sample, or the batch that begins with the image, the share of zeros of every
//! channel.

use std::collections::HashSet;

use tch::{Kind, Tensor};

use super::{
    ChannelReport, Channels, Contents, Error, OutputReport, Sample, Statistics,
    tensors::{image_tensor, shape, values, zero_shares},
};
use crate::{
    data::{DeviceSet, ImageSet, Random, Stream},
    nn::{LayerKind, LayerShape, Mode, Network, ParameterSet, ParameterShape},
};

/// Images in one forward pass over the sample.
const SAMPLE_BATCH: usize = 250;

/// Numbers that are reported for a channel in addition to its output and weights, without its histogram.
const CHANNEL_NUMBERS: usize = 8;

/// Collects the outputs of every layer that is shown.
pub(super) struct ContentsCollector {
    outputs: Vec<Option<OutputReport>>,
    logits: Vec<f64>,
    probabilities: Vec<f64>,
    sample_images: usize,
}

impl ContentsCollector {
    pub(super) fn new(network: &Network, contents: &Contents) -> Result<Self, Error> {
        let shown = shown_layers(network, &contents.layers, &contents.channels)?;
        let channels = shown_channels(network, contents, &shown)?;
        let image = image_tensor(network, &contents.image)?;
        let _guard = tch::no_grad_guard();
        let mut outputs: Vec<Option<OutputReport>> = Vec::new();
        let bins = Some(contents.histogram_bins);
        let logits = network.forward_with(&image, &mut |layer, output| {
            let report = || output_report(network, layer, output, (&channels[layer], bins));
            outputs.push(shown[layer].then(report));
        });
        let sample = contents.sample.as_ref().filter(|set| !set.is_empty());
        if let Some(set) = sample {
            let set = DeviceSet::new(set, network.device());
            for (layer, zeros) in zero_fractions(network, &set).into_iter().enumerate() {
                if let Some(output) = &mut outputs[layer] {
                    output.sample = Some(Sample::new(kind(network, layer), zeros));
                }
            }
        }
        Ok(Self::from_outputs(outputs, &logits, sample.map_or(0, ImageSet::len)))
    }

    /// One channel of every layer for the first of `images`, and the share of zeros over all of them.
    pub(super) fn of_batch(network: &Network, images: &Tensor, mode: Mode, channel_seed: u64) -> Self {
        let _guard = tch::no_grad_guard();
        let channels = Channels::Random(channel_seed);
        let mut outputs = Vec::new();
        let logits = network.forward_in(mode, images, &mut |layer, output| {
            let shown = chosen(&channels, layer, output.size()[1]);
            let mut report = output_report(network, layer, output, (&shown, None));
            report.sample = Some(Sample::new(kind(network, layer), values(&zero_shares(output))));
            outputs.push(Some(report));
        });
        Self::from_outputs(outputs, &logits, images.size()[0] as usize)
    }

    fn from_outputs(outputs: Vec<Option<OutputReport>>, logits: &Tensor, sample_images: usize) -> Self {
        let logits = logits.get(0).to_kind(Kind::Double);
        let probabilities = values(&logits.softmax(-1, None::<Kind>));
        Self { outputs, logits: values(&logits), probabilities, sample_images }
    }

    /// Takes the output of this layer; none if it is not shown.
    pub(super) fn take_output(&mut self, layer: usize) -> Option<OutputReport> {
        self.outputs[layer].take()
    }

    pub(super) fn sample_images(&self) -> usize {
        self.sample_images
    }

    /// The logits of the image, and their softmax.
    pub(super) fn into_prediction(self) -> (Vec<f64>, Vec<f64>) {
        (self.logits, self.probabilities)
    }
}

fn kind(network: &Network, layer: usize) -> &LayerKind {
    &network.config().layers[layer].kind
}

impl Sample {
    /// The output of flatten has no channels but the pixels of the layer before it, and those at the border are zero in
    /// most data sets: none of them is dead.
    fn new(kind: &LayerKind, zero_fractions: Vec<f64>) -> Self {
        let is_dead = |share: f64| share == 1.0 && *kind != LayerKind::Flatten;
        let dead = zero_fractions.iter().enumerate().filter(|(_, share)| is_dead(**share));
        Self { dead_channels: dead.map(|(channel, _)| channel as i64).collect(), zero_fractions }
    }
}

/// For each layer whether it is shown; checks the names and the channels requested.
pub(super) fn shown_layers(
    network: &Network,
    layers: &[String],
    channels: &Channels,
) -> Result<Vec<bool>, Error> {
    let names: Vec<&str> = network.config().layers.iter().map(|layer| layer.name.as_str()).collect();
    if let Some(name) = layers.iter().find(|name| !names.contains(&name.as_str())) {
        // A hostile name may be long: the message quotes its beginning only.
        let name = name.chars().take(64).collect();
        return Err(Error::UnknownLayer { name, known: names.join(", ") });
    }
    let shown: Vec<bool> = names
        .iter()
        .map(|name| layers.is_empty() || layers.iter().any(|requested| requested == name))
        .collect();
    if let Channels::Chosen(channels) = channels {
        let widths = network.shapes().iter().zip(&shown).filter(|(_, shown)| **shown);
        let widest = widths.map(|(shape, _)| shape.output.with_batch(1)[1]).max().unwrap_or(0);
        if let Some(&channel) = channels.iter().find(|channel| !(0..widest).contains(*channel)) {
            return Err(Error::UnknownChannel { channel, widest });
        }
    }
    Ok(shown)
}

/// For each layer its channels that are shown; checks that one response holds them.
fn shown_channels(network: &Network, contents: &Contents, shown: &[bool]) -> Result<Vec<Vec<i64>>, Error> {
    let mut values = 0;
    let mut all = Vec::with_capacity(shown.len());
    for (layer, (shape, shown)) in network.shapes().iter().zip(shown).enumerate() {
        if !shown {
            all.push(Vec::new());
            continue;
        }
        let width = shape.output.with_batch(1)[1];
        let channels = chosen(&contents.channels, layer, width);
        values += channels.len() * (channel_numbers(shape) + CHANNEL_NUMBERS + contents.histogram_bins);
        values += contents.sample.as_ref().map_or(0, |_| width as usize);
        all.push(channels);
    }
    if values > contents.max_values {
        return Err(Error::TooMuch { values, max: contents.max_values });
    }
    Ok(all)
}

/// Returns the number of values in the contents of a batch: one channel of every layer with its
/// weights, and the shares of zeros.
pub fn batch_numbers(shapes: &[LayerShape]) -> usize {
    shapes.iter().map(|shape| channel_numbers(shape) + shape.output.with_batch(1)[1] as usize).sum()
}

/// The output of one channel, and the weights that make it.
fn channel_numbers(shape: &LayerShape) -> usize {
    let weights = shape.parameters.first().map_or(0, ParameterShape::count);
    ((shape.output.len() + weights) / shape.output.with_batch(1)[1]) as usize
}

/// The channels of one layer that are shown, each once, in the order requested.
pub(super) fn chosen(channels: &Channels, layer: usize, width: i64) -> Vec<i64> {
    match channels {
        Channels::Chosen(list) => {
            let mut seen = HashSet::new();
            list.iter().copied().filter(|channel| *channel < width && seen.insert(*channel)).collect()
        }
        Channels::Random(seed) => {
            vec![Random::new(*seed, Stream::Channels, layer as u64, 0).below(width as usize) as i64]
        }
        Channels::All => (0..width).collect(),
    }
}

/// For the first image of the batch: its channels that are shown, and the bars of histograms, none for
/// a report in short.
fn output_report(
    network: &Network,
    layer: usize,
    output: &Tensor,
    (channels, bins): (&[i64], Option<usize>),
) -> OutputReport {
    let first = output.narrow(0, 0, 1);
    let report =
        |&channel: &i64| channel_report(network, layer, &output.get(0).get(channel), (channel, bins));
    OutputReport {
        statistics: match bins {
            Some(bins) => Statistics::in_full(&first, bins),
            None => Statistics::of(&first),
        },
        channels: channels.iter().map(report).collect(),
        sample: None,
    }
}

fn channel_report(
    network: &Network,
    layer: usize,
    output: &Tensor,
    (channel, bins): (i64, Option<usize>),
) -> ChannelReport {
    let parameters = &network.shapes()[layer].parameters;
    let part = |index: usize| {
        let set: &ParameterSet = network.parameters();
        parameters.get(index).and_then(|shape| set.get(&shape.name)).map(|array| array.get(channel))
    };
    let (kernel, bias) = (part(0), part(1));
    ChannelReport {
        channel,
        output_shape: shape(output),
        output: values(output),
        kernel_shape: kernel.as_ref().map(shape).unwrap_or_default(),
        kernel: kernel.as_ref().map(values).unwrap_or_default(),
        bias: bias.map(|bias| bias.double_value(&[])),
        statistics: bins.map(|bins| Statistics::in_full(output, bins)),
    }
}

/// For every layer and channel the share of exact zeros over the whole set.
fn zero_fractions(network: &Network, set: &DeviceSet) -> Vec<Vec<f64>> {
    let mut sums: Vec<Tensor> = Vec::new();
    let size = network.forward_batch(SAMPLE_BATCH);
    for start in (0..set.len()).step_by(size) {
        let batch = set.range(start, start + size, network.kind());
        let images = batch.labels.size()[0] as f64;
        let _ = network.forward_with(&batch.images, &mut |layer, output| {
            let share = zero_shares(output) * images;
            match sums.get_mut(layer) {
                Some(sum) => *sum += share,
                None => sums.push(share),
            }
        });
    }
    sums.iter().map(|sum| values(&(sum / set.len() as f64))).collect()
}
