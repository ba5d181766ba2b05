//! Kernels that do the same work twice: pairs within a layer whose directions are nearly one.

use tch::Kind;

use super::finding::{Finding, FindingKind, measurement, places};
use crate::{
    inspect::tensors::values,
    nn::{LayerKind, Network},
};

/// Cosine above which two kernels are counted as one.
const COSINE: f64 = 0.98;

/// Kernels of fewer weights point the same way by chance.
const MIN_WEIGHTS: i64 = 4;

/// Layers of more outputs are not examined: the pairs grow with the square.
const MAX_KERNELS: i64 = 4096;

/// Kernels that are compared with all others at a time.
const BLOCK: i64 = 256;

/// Largest number of pairs of a layer that are listed one by one.
const MAX_PAIRS: usize = 20;

pub(super) fn duplicates(network: &Network) -> Vec<Finding> {
    let last = network.config().layers.len() - 1;
    let mut findings = Vec::new();
    for (index, layer) in network.config().layers.iter().enumerate() {
        let compared = match layer.kind {
            LayerKind::Conv(_) => true,
            // The last one's rows are the classes.
            LayerKind::Linear(_) => index != last,
            LayerKind::Relu
            | LayerKind::MaxPool(_)
            | LayerKind::Flatten
            | LayerKind::Dropout(_)
            | LayerKind::BatchNorm(_) => false,
        };
        let weight = network.shapes()[index].parameters.first();
        if let Some(weight) = weight.filter(|_| compared) {
            let pairs = pairs(network, &weight.name);
            let more = pairs.len().saturating_sub(MAX_PAIRS);
            findings
                .extend(pairs.iter().take(MAX_PAIRS).map(|pair| finding(&layer.name, &weight.name, *pair)));
            if let (true, Some(finding)) = (more > 0, findings.last_mut()) {
                finding.measurements.push(measurement("pairs_not_listed", more as f64, None));
                finding.message += &format!(" {more} more pairs of this layer are not listed.");
            }
        }
    }
    findings
}

fn finding(layer: &str, weight: &str, (one, other, cosine): (i64, i64, f64)) -> Finding {
    Finding {
        kind: FindingKind::DuplicateKernels,
        layer: layer.to_owned(),
        parameter: Some(weight.to_owned()),
        channels: vec![one, other],
        places: places(weight, &[one, other]),
        measurements: vec![measurement("cosine", cosine, Some(COSINE))],
        message: format!(
            "Kernels {one} and {other} of {layer} point in the same direction (cosine {cosine:.4}): they detect \
             the same feature twice."
        ),
        advice: "Train with fewer channels, or with another seed, L2 or dropout, which keep kernels different.",
    }
}

/// Pairs whose cosine is above the threshold, the nearest first.
fn pairs(network: &Network, weight: &str) -> Vec<(i64, i64, f64)> {
    let weight = network.parameters().get(weight).expect("a layer's arrays are the network's");
    let count = weight.size()[0];
    let rows = weight.detach().to_kind(Kind::Double).reshape([count, -1]);
    if rows.size()[1] < MIN_WEIGHTS || count > MAX_KERNELS {
        return Vec::new();
    }
    // A kernel of zeros becomes one of NaN, which is like nothing.
    let lengths = rows.square().sum_dim_intlist([1i64].as_slice(), true, Kind::Double).sqrt();
    let rows = rows / lengths;
    let mut pairs = Vec::new();
    for first in (0..count).step_by(BLOCK as usize) {
        let block = rows.narrow(0, first, BLOCK.min(count - first));
        let cosines = values(&block.matmul(&rows.transpose(0, 1)));
        for (at, cosine) in cosines.into_iter().enumerate() {
            let (one, other) = (first + at as i64 / count, at as i64 % count);
            if one < other && cosine > COSINE {
                pairs.push((one, other, cosine));
            }
        }
    }
    pairs.sort_by(|(.., a), (.., b)| b.total_cmp(a));
    pairs
}
