//! Weights that are still what they were before training. digitd freezes nothing, so that a weight that
//! never changed had no gradient in any step (and no decay): a layer before or after it is dead.

use super::finding::{Finding, FindingKind, MAX_CHANNELS, described, measurement, places};
use crate::{
    inspect::values::{ParameterValues, parameter_values},
    nn::Network,
};

pub(super) fn never_moved(network: &Network, start: &Network) -> Vec<Finding> {
    let (now, before) = (parameter_values(network), parameter_values(start));
    let layers = network.config().layers.iter().zip(network.shapes());
    let parameters = layers.flat_map(|(layer, shape)| {
        shape.parameters.iter().map(move |parameter| (layer.name.as_str(), parameter.name.as_str()))
    });
    let mut findings = Vec::new();
    for (layer, name) in parameters {
        let of = |all: &'_ [ParameterValues]| all.iter().position(|stored| stored.name == name);
        let (Some(now), Some(before)) = (of(&now).map(|at| &now[at]), of(&before).map(|at| &before[at]))
        else {
            continue;
        };
        findings.extend(finding(layer, now, before));
    }
    findings
}

/// Reports a whole parameter, or the channels of a weight that did not change. A single bias that is unchanged
/// is no finding of its own: its kernel does too.
fn finding(layer: &str, now: &ParameterValues, before: &ParameterValues) -> Option<Finding> {
    let channels = usize::try_from(*now.shape.first()?).ok()?;
    if now.bytes.len() != before.bytes.len() || channels == 0 {
        return None;
    }
    let row = now.bytes.len() / channels;
    let rows = now.bytes.chunks(row).zip(before.bytes.chunks(row)).enumerate();
    let unchanged: Vec<i64> =
        rows.filter(|(_, (now, before))| now == before).map(|(channel, _)| channel as i64).collect();
    let (all, is_weight) = (unchanged.len() == channels, now.shape.len() > 1);
    if unchanged.is_empty() || !(all || is_weight) {
        return None;
    }
    let name = &now.name;
    let shown = if all { &[][..] } else { &unchanged[..unchanged.len().min(MAX_CHANNELS)] };
    let what = match all {
        true => format!("{name} is"),
        false if unchanged.len() == 1 => format!("{} is", described(name, &unchanged, channels, "kernels")),
        false => format!("{} are", described(name, &unchanged, channels, "kernels")),
    };
    Some(Finding {
        kind: FindingKind::NeverMoved,
        layer: layer.to_owned(),
        parameter: Some(name.clone()),
        channels: shown.to_vec(),
        places: if all { vec![name.clone()] } else { places(name, shown) },
        measurements: vec![
            measurement("channels_not_moved", unchanged.len() as f64, Some(0.0)),
            measurement("channels", channels as f64, None),
        ],
        message: format!(
            "{what} bit for bit equal to the initial weights: no step had a gradient for it, so that it learned \
             nothing."
        ),
        advice: "Look for dead channels in this layer and after it, and train again without their cause.",
    })
}
