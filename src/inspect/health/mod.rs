//! Finds what is wrong with a network over a whole set of images: a pass over the set (`scan`), then
//! the rules, each with the measurements that it is based on. `train::health` warns during a run; here a
//! finished network is judged.

mod finding;
mod initial_weights;
mod kernels;
mod scan;
#[cfg(test)]
mod tests;

use crate::{data::ImageSet, nn::Network};

use finding::{MAX_CHANNELS, described, measurement, numbered, places};
use scan::DatasetScan;

pub use finding::{Finding, FindingKind, Measurement};
pub use scan::LayerHealth;

/// Above this share of images with a saturated softmax it is a finding.
const SATURATED: f64 = 0.5;

/// The health of a network over a set of images.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    pub images: usize,
    /// Without flatten and dropout.
    pub layers: Vec<LayerHealth>,
    /// Share of images whose largest probability is 1 in float32.
    pub saturated_fraction: f64,
    /// The share of those images that is misclassified; none if there are no such images.
    pub saturated_wrong_fraction: Option<f64>,
    pub accuracy: f64,
    /// The gravest first.
    pub findings: Vec<Finding>,
}

/// The weights before training, if they are known.
#[derive(Debug, Clone, Copy)]
pub enum InitialWeights<'a> {
    Known(&'a Network),
    Unknown,
}

/// Examines a network over a set, and its weights beside the initial ones. None if it is not `wanted`
/// any more, which is called after every batch. Panics on an empty set.
pub fn examine(
    network: &Network,
    set: &ImageSet,
    start: InitialWeights<'_>,
    wanted: &dyn Fn() -> bool,
) -> Option<Health> {
    assert!(!set.is_empty(), "there is nothing to look at");
    let _guard = tch::no_grad_guard();
    let scan = DatasetScan::of(network, set, wanted)?;
    let mut findings = not_finite(network, &scan);
    findings.extend(dead(&scan));
    if let InitialWeights::Known(start) = start {
        findings.extend(initial_weights::never_moved(network, start));
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

/// Weights and running statistics that are no numbers, and the first layer that gives such.
fn not_finite(network: &Network, scan: &DatasetScan) -> Vec<Finding> {
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
                        measurement("values_not_finite", count as f64, Some(0.0)),
                        measurement("values", parameter.count() as f64, None),
                    ],
                    message: format!(
                        "{count} of the {} values of {name} are infinite or NaN, and so is every prediction \
                         that depends on them.",
                        parameter.count()
                    ),
                    advice: "Return to an earlier version or checkpoint, and continue training with a lower \
                             learning rate or clipped gradients.",
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
            places: places(&layer.name, &channels[..channels.len().min(MAX_CHANNELS)]),
            measurements: vec![measurement("channels_not_finite", channels.len() as f64, Some(0.0))],
            message: format!(
                "{} outputs values that are infinite or NaN; it is the first layer that does.",
                described(&layer.name, &channels, layer.means.len(), "channels")
            ),
            advice: "Look at the weights of this layer and before it: large ones overflow even where each \
                     is finite.",
            channels: channels.into_iter().take(MAX_CHANNELS).collect(),
        });
    }
    findings
}

fn dead(scan: &DatasetScan) -> Vec<Finding> {
    let dead = scan.layers.iter().filter(|layer| !layer.dead_channels.is_empty());
    let finding = |layer: &LayerHealth| {
        let channels = &layer.dead_channels;
        let width = layer.means.len();
        let share = channels.len() as f64 / width as f64;
        let shown = &channels[..channels.len().min(MAX_CHANNELS)];
        Finding {
            kind: FindingKind::DeadChannels,
            layer: layer.name.clone(),
            parameter: None,
            channels: shown.to_vec(),
            places: places(&layer.name, shown),
            measurements: vec![
                measurement("dead_fraction", share, Some(0.0)),
                measurement("images", scan.images as f64, None),
            ],
            message: format!(
                "{} {} 0 for every one of {} images: no prediction depends on it, and no gradient reaches its \
                 weights.",
                described(&layer.name, channels, width, "channels"),
                if channels.len() == 1 { "is" } else { "are" },
                scan.images
            ),
            advice: "Look at the bias before it, which is far below 0 as a rule; train again with a lower \
                     learning rate or another seed, or with fewer channels where many are dead.",
        }
    };
    dead.map(finding).collect()
}

fn saturated(network: &Network, scan: &DatasetScan) -> Option<Finding> {
    let share = scan.saturated as f64 / scan.images as f64;
    let last = network.config().layers.last().map(|layer| layer.name.clone()).unwrap_or_default();
    (share > SATURATED).then(|| Finding {
        kind: FindingKind::SaturatedSoftmax,
        parameter: None,
        channels: Vec::new(),
        places: vec![last.clone()],
        layer: last,
        measurements: vec![
            measurement("saturated_fraction", share, Some(SATURATED)),
            measurement("saturated_wrong", scan.saturated_wrong as f64, None),
        ],
        message: format!(
            "For {:.1} % of the images the largest probability is 1 in float32 ({} of them are \
             misclassified): the softmax is saturated, its probabilities carry no information about the \
             confidence of the network, and the network no longer learns from such images.",
            share * 100.0,
            scan.saturated_wrong
        ),
        advice: "Smooth the labels, add L2 to the last layer's weights, or stop earlier; until then do not \
                 trust the probabilities.",
    })
}
