//! Weights that are still what they were before training. digitd freezes nothing, so that a weight that
//! never moved had no gradient in any step (and no decay): what stands before it is dead, or behind it.

use super::{Finding, FindingKind, MOST_CHANNELS, measured};
use crate::{
    inspect::values::{Stored, stored},
    nn::Network,
};

pub(super) fn never_moved(network: &Network, start: &Network) -> Vec<Finding> {
    let (now, before) = (stored(network), stored(start));
    let layers = network.config().layers.iter().zip(network.shapes());
    let parameters = layers.flat_map(|(layer, shape)| {
        shape.parameters.iter().map(move |parameter| (layer.name.as_str(), parameter.name.as_str()))
    });
    let mut findings = Vec::new();
    for (layer, name) in parameters {
        let of = |all: &'_ [Stored]| all.iter().position(|stored| stored.name == name);
        let (Some(now), Some(before)) = (of(&now).map(|at| &now[at]), of(&before).map(|at| &before[at]))
        else {
            continue;
        };
        findings.extend(finding(layer, now, before));
    }
    findings
}

/// All of a parameter, or of a weight the channels that did not move. A single bias that stands still
/// is no finding of its own: its kernel does too.
fn finding(layer: &str, now: &Stored, before: &Stored) -> Option<Finding> {
    let channels = usize::try_from(*now.shape.first()?).ok()?;
    if now.bytes.len() != before.bytes.len() || channels == 0 {
        return None;
    }
    let row = now.bytes.len() / channels;
    let rows = now.bytes.chunks(row).zip(before.bytes.chunks(row)).enumerate();
    let still: Vec<i64> =
        rows.filter(|(_, (now, before))| now == before).map(|(channel, _)| channel as i64).collect();
    let (all, is_weight) = (still.len() == channels, now.shape.len() > 1);
    if still.is_empty() || !(all || is_weight) {
        return None;
    }
    let name = &now.name;
    let listed = if all { &[][..] } else { &still[..still.len().min(MOST_CHANNELS)] };
    let what = match all {
        true => format!("{name} is"),
        false if still.len() == 1 => format!("{} is", super::told(name, &still, channels, "kernels")),
        false => format!("{} are", super::told(name, &still, channels, "kernels")),
    };
    Some(Finding {
        kind: FindingKind::NeverMoved,
        layer: layer.to_owned(),
        parameter: Some(name.clone()),
        channels: listed.to_vec(),
        places: if all { vec![name.clone()] } else { super::places(name, listed) },
        measurements: vec![
            measured("channels_not_moved", still.len() as f64, Some(0.0)),
            measured("channels", channels as f64, None),
        ],
        message: format!(
            "{what} to the bit what training began with: no step had a gradient for it, so that it learned \
             nothing."
        ),
        advice: "Look for dead channels at this layer and behind it, and train anew without what kills them.",
    })
}
