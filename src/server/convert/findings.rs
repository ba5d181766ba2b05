//! What is wrong with a network, as the contract has it.

use super::{dataset::from_split, field::int, inspection::ints, model::from_exact};
use crate::{
    engine::{StartFrom, StudiedHealth},
    inspect::{Finding, FindingKind, LayerHealth, Measurement},
    pb::digitd::v1,
};

pub fn from_health(studied: StudiedHealth) -> v1::NetworkHealth {
    let health = studied.health;
    let (start_weights, start_version) = match &studied.start {
        StartFrom::Drawn => (v1::StartWeights::Drawn, None),
        StartFrom::Version(version) => (v1::StartWeights::Version, Some(from_exact(version))),
        StartFrom::Unknown => (v1::StartWeights::Unknown, None),
    };
    v1::NetworkHealth {
        findings: health.findings.into_iter().map(from_finding).collect(),
        dataset: studied.dataset.to_string(),
        split: from_split(studied.split).into(),
        images: int(health.images),
        layers: health.layers.into_iter().map(from_layer).collect(),
        saturated_fraction: Some(health.saturated_fraction),
        saturated_wrong_fraction: health.saturated_wrong_fraction,
        accuracy: Some(health.accuracy),
        start_weights: start_weights.into(),
        start_version,
    }
}

fn from_layer(layer: LayerHealth) -> v1::LayerHealth {
    v1::LayerHealth {
        name: layer.name,
        kind: layer.kind.word().to_owned(),
        zero_fractions: layer.zero_fractions,
        means: layer.means,
        stds: layer.stds,
        dead_channels: ints(&layer.dead_channels),
    }
}

fn from_finding(finding: Finding) -> v1::Finding {
    let kind = match finding.kind {
        FindingKind::NotFinite => v1::FindingKind::NotFinite,
        FindingKind::DeadChannels => v1::FindingKind::DeadChannels,
        FindingKind::NeverMoved => v1::FindingKind::NeverMoved,
        FindingKind::SaturatedSoftmax => v1::FindingKind::SaturatedSoftmax,
        FindingKind::DuplicateKernels => v1::FindingKind::DuplicateKernels,
    };
    let measurement = |it: Measurement| v1::Measurement {
        name: it.name.to_owned(),
        value: Some(it.value),
        threshold: it.threshold,
    };
    v1::Finding {
        kind: kind.into(),
        layer: finding.layer,
        parameter: finding.parameter.unwrap_or_default(),
        channels: ints(&finding.channels),
        places: finding.places,
        measurements: finding.measurements.into_iter().map(measurement).collect(),
        message: finding.message,
        advice: finding.advice.to_owned(),
    }
}
