//! What is wrong with a network, found over a whole set of images: a pass over the set (`scan`), then the
//! rules, each with the numbers that it goes by. `train::health` warns while a run goes on; here a network
//! is judged that is there.

mod kernels;
mod scan;
mod start;
#[cfg(test)]
mod tests;

use crate::{
    data::ImageSet,
    nn::{LayerKind, Network},
};

use scan::Scan;

/// Above this share of images with a saturated softmax it is a finding.
const SATURATED: f64 = 0.5;

/// Most channels that a finding lists.
const MOST_CHANNELS: usize = 1000;

/// A network over a set of images.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    pub images: usize,
    /// Without flatten and dropout.
    pub layers: Vec<LayerHealth>,
    /// Share of images whose largest probability is 1 in float32.
    pub saturated_fraction: f64,
    /// Of these the share that is answered wrong; none where there are none.
    pub saturated_wrong_fraction: Option<f64>,
    pub accuracy: f64,
    /// The gravest first.
    pub findings: Vec<Finding>,
}

/// What a layer gives over all images and places, channel by channel.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerHealth {
    pub name: String,
    pub kind: LayerKind,
    pub zero_fractions: Vec<f64>,
    pub means: Vec<f64>,
    /// Of the population.
    pub stds: Vec<f64>,
    /// Of a ReLU.
    pub dead_channels: Vec<i64>,
}

/// What is known of the weights before training.
#[derive(Debug, Clone, Copy)]
pub enum Start<'a> {
    Known(&'a Network),
    Unknown,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    pub kind: FindingKind,
    pub layer: String,
    pub parameter: Option<String>,
    /// Empty: all of the layer or parameter.
    pub channels: Vec<i64>,
    /// `relu1[3]`, `conv1.weight`.
    pub places: Vec<String>,
    pub measurements: Vec<Measurement>,
    pub message: String,
    pub advice: &'static str,
}

/// In the order of their gravity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingKind {
    NotFinite,
    DeadChannels,
    NeverMoved,
    SaturatedSoftmax,
    DuplicateKernels,
}

/// A number that a finding goes by.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    pub name: &'static str,
    pub value: f64,
    pub threshold: Option<f64>,
}

/// Looks at a network over a set, and at its weights beside those that it started from. None where it is
/// not `wanted` any more, which is asked after every batch. Panics on an empty set.
pub fn examine(
    network: &Network,
    set: &ImageSet,
    start: Start<'_>,
    wanted: &dyn Fn() -> bool,
) -> Option<Health> {
    assert!(!set.is_empty(), "there is nothing to look at");
    let _guard = tch::no_grad_guard();
    let scan = Scan::of(network, set, wanted)?;
    let mut findings = not_finite(network, &scan);
    findings.extend(dead(&scan));
    if let Start::Known(start) = start {
        findings.extend(start::never_moved(network, start));
    }
    findings.extend(saturated(network, &scan));
    findings.extend(kernels::duplicates(network));
    findings.sort_by_key(|finding| finding.kind);
    Some(Health {
        images: scan.images,
        saturated_fraction: scan.saturated as f64 / scan.images as f64,
        saturated_wrong_fraction: (scan.saturated > 0)
            .then(|| scan.saturated_wrong as f64 / scan.saturated as f64),
        accuracy: scan.correct as f64 / scan.images as f64,
        layers: scan.layers,
        findings,
    })
}

fn measured(name: &'static str, value: f64, threshold: Option<f64>) -> Measurement {
    Measurement { name, value, threshold }
}

/// `relu1[3]` for each channel.
fn places(name: &str, channels: &[i64]) -> Vec<String> {
    channels.iter().map(|channel| format!("{name}[{channel}]")).collect()
}

/// `3 of its 20 channels`, or the place itself where it is one.
fn told(name: &str, channels: &[i64], width: usize, what: &str) -> String {
    match channels {
        [one] => format!("{name}[{one}]"),
        many => format!("{} of the {width} {what} of {name}", many.len()),
    }
}

/// Weights and running statistics that are no numbers, and the first layer that gives such.
fn not_finite(network: &Network, scan: &Scan) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (config, shape) in network.config().layers.iter().zip(network.shapes()) {
        for parameter in shape.parameters.iter().chain(&shape.running_statistics) {
            let array = network.array(&parameter.name).expect("a layer's arrays are the network's");
            let count = parameter.count() - array.isfinite().sum(tch::Kind::Int64).int64_value(&[]);
            if count > 0 {
                let name = &parameter.name;
                findings.push(Finding {
                    kind: FindingKind::NotFinite,
                    layer: config.name.clone(),
                    parameter: Some(name.clone()),
                    channels: Vec::new(),
                    places: vec![name.clone()],
                    measurements: vec![
                        measured("values_not_finite", count as f64, Some(0.0)),
                        measured("values", parameter.count() as f64, None),
                    ],
                    message: format!(
                        "{count} of the {} values of {name} are infinite or no numbers, and so is every \
                         answer that they have a part in.",
                        parameter.count()
                    ),
                    advice: "Go back to an earlier version or checkpoint, and train on with a lower learning \
                             rate or clipped gradients.",
                });
            }
        }
    }
    let ill = |layer: &&LayerHealth| layer.means.iter().any(|mean| !mean.is_finite());
    if let Some(layer) = scan.layers.iter().find(ill) {
        let channels: Vec<i64> = numbered(&layer.means, |mean| !mean.is_finite());
        findings.push(Finding {
            kind: FindingKind::NotFinite,
            layer: layer.name.clone(),
            parameter: None,
            places: places(&layer.name, &channels[..channels.len().min(MOST_CHANNELS)]),
            measurements: vec![measured("channels_not_finite", channels.len() as f64, Some(0.0))],
            message: format!(
                "{} gives values that are infinite or no numbers; it is the first layer that does.",
                told(&layer.name, &channels, layer.means.len(), "channels")
            ),
            advice: "Look at the weights of this layer and before it: large ones overflow even where each \
                     is finite.",
            channels: channels.into_iter().take(MOST_CHANNELS).collect(),
        });
    }
    findings
}

fn dead(scan: &Scan) -> Vec<Finding> {
    let dead = scan.layers.iter().filter(|layer| !layer.dead_channels.is_empty());
    let finding = |layer: &LayerHealth| {
        let channels = &layer.dead_channels;
        let width = layer.means.len();
        let share = channels.len() as f64 / width as f64;
        let listed = &channels[..channels.len().min(MOST_CHANNELS)];
        Finding {
            kind: FindingKind::DeadChannels,
            layer: layer.name.clone(),
            parameter: None,
            channels: listed.to_vec(),
            places: places(&layer.name, listed),
            measurements: vec![
                measured("dead_fraction", share, Some(0.0)),
                measured("images", scan.images as f64, None),
            ],
            message: format!(
                "{} {} 0 for every one of {} images: no answer depends on it, and no gradient reaches its \
                 weights.",
                told(&layer.name, channels, width, "channels"),
                if channels.len() == 1 { "is" } else { "are" },
                scan.images
            ),
            advice: "Look at the bias before it, which is far below 0 as a rule; train anew with a lower \
                     learning rate or another seed, or with fewer channels where many are dead.",
        }
    };
    dead.map(finding).collect()
}

fn saturated(network: &Network, scan: &Scan) -> Option<Finding> {
    let share = scan.saturated as f64 / scan.images as f64;
    let last = network.config().layers.last().map(|layer| layer.name.clone()).unwrap_or_default();
    (share > SATURATED).then(|| Finding {
        kind: FindingKind::SaturatedSoftmax,
        parameter: None,
        channels: Vec::new(),
        places: vec![last.clone()],
        layer: last,
        measurements: vec![
            measured("saturated_fraction", share, Some(SATURATED)),
            measured("saturated_wrong", scan.saturated_wrong as f64, None),
        ],
        message: format!(
            "For {:.1} % of the images the largest probability is 1 in float32 ({} of them are answered \
             wrong): the softmax is saturated, its probabilities tell nothing of how sure the network is, \
             and such images teach it no more.",
            share * 100.0,
            scan.saturated_wrong
        ),
        advice: "Smooth the labels, add L2 to the last layer's weights, or stop earlier; until then do not \
                 trust the probabilities.",
    })
}

/// The channels whose number is so.
fn numbered(values: &[f64], is_so: impl Fn(f64) -> bool) -> Vec<i64> {
    let found = values.iter().enumerate().filter(|(_, value)| is_so(**value));
    found.map(|(channel, _)| channel as i64).collect()
}
