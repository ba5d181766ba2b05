//! Findings about a network, as the contract shows them.

use crate::{
    engine::{HealthReport, InitialWeightsOrigin},
    inspect::{Finding, LayerHealth, Measurement},
    pb::digitd::v1,
    server::convert::shared::{
        enums::ContractEnum,
        field::{int, ints},
        reference::from_exact,
    },
};

pub fn from_health(studied: HealthReport) -> v1::NetworkHealth {
    let health = studied.health;
    let (initial_weights, initial_version) = match &studied.initial {
        InitialWeightsOrigin::Random => (v1::InitialWeights::Drawn, None),
        InitialWeightsOrigin::Version(version) => (v1::InitialWeights::Version, Some(from_exact(version))),
        InitialWeightsOrigin::Unknown => (v1::InitialWeights::Unknown, None),
    };
    v1::NetworkHealth {
        findings: health.findings.into_iter().map(from_finding).collect(),
        dataset: studied.dataset.to_string(),
        split: studied.split.to_wire(),
        images: int(health.images),
        layers: health.layers.into_iter().map(from_layer).collect(),
        saturated_fraction: Some(health.saturated_fraction),
        saturated_wrong_fraction: health.saturated_wrong_fraction,
        accuracy: Some(health.accuracy),
        initial_weights: initial_weights.into(),
        initial_version,
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
    let measurement = |it: Measurement| v1::Measurement {
        name: it.name.to_owned(),
        value: Some(it.value),
        threshold: it.threshold,
    };
    v1::Finding {
        kind: finding.kind.to_wire(),
        layer: finding.layer,
        parameter: finding.parameter.unwrap_or_default(),
        channels: ints(&finding.channels),
        places: finding.places,
        measurements: finding.measurements.into_iter().map(measurement).collect(),
        message: finding.message,
        advice: finding.advice.to_owned(),
    }
}
