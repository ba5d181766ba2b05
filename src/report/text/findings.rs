//! The health of a network: findings with advice, and a table of its layers.

use super::{
    layout::{Color, Layout},
    names::enum_label,
    number::{count, percent, significant},
    table::{self, Tone, cell},
};
use crate::pb::digitd::v1::{Finding, InitialWeights, LayerHealth, NetworkHealth};

/// The largest number of dead channels that a row lists, so that it fits a line.
const MAX_CHANNELS: usize = 10;

/// The findings with their advice, then a row for every layer.
pub fn health(it: &NetworkHealth, layout: Layout) -> String {
    let mut text = layout.fill(&health_title(it));
    text.push('\n');
    for finding in &it.findings {
        text += &finding_text(finding, layout);
        text.push('\n');
    }
    text.push('\n');
    let mut table = table::table(layout, &HEALTH_COLUMNS);
    for layer in &it.layers {
        let row = health_row(layer);
        let dead = !layer.dead_channels.is_empty();
        let cells = row.into_iter().enumerate().map(|(column, text)| match (column, dead) {
            (6, true) => cell(text, Tone::Bad),
            _ => cell(text, Tone::Plain),
        });
        table.add_row(cells);
    }
    text + &table::text(&table)
}

/// The images that were examined, and how many findings there are.
pub fn health_title(it: &NetworkHealth) -> String {
    let split = enum_label(it.split().as_str_name(), "SPLIT");
    let found = match it.findings.len() {
        0 => "no findings".to_owned(),
        1 => "1 finding".to_owned(),
        many => format!("{many} findings"),
    };
    let mut text = format!(
        "health on {} {split} images of {}: {found}; accuracy {}, largest probability 1 for {}",
        count(it.images),
        it.dataset,
        percent(it.accuracy),
        percent(it.saturated_fraction),
    );
    if it.initial_weights() == InitialWeights::Unknown {
        text += "; the initial weights are not known";
    }
    text
}

/// Columns of the table of layers.
pub const HEALTH_COLUMNS: [&str; 7] =
    ["layer<", "channels", "mean zeros", "max zeros", "mean", "max std", "dead<"];

pub fn health_row(layer: &LayerHealth) -> [String; 7] {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let largest = |values: &[f64]| values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let dead: Vec<String> = layer.dead_channels.iter().take(MAX_CHANNELS).map(i32::to_string).collect();
    let more = if layer.dead_channels.len() > MAX_CHANNELS { ", ..." } else { "" };
    [
        layer.name.clone(),
        layer.means.len().to_string(),
        percent(Some(mean(&layer.zero_fractions))),
        percent(Some(largest(&layer.zero_fractions))),
        significant(mean(&layer.means)),
        significant(largest(&layer.stds)),
        format!("{}{more}", dead.join(", ")),
    ]
}

/// The kind of a finding in words.
pub fn finding_name(finding: &Finding) -> String {
    enum_label(finding.kind().as_str_name(), "FINDING_KIND")
}

fn finding_text(finding: &Finding, layout: Layout) -> String {
    let style = console::Style::new().red().bold().force_styling(layout.color == Color::On);
    let text = format!(
        "{} {}\n{}",
        style.apply_to(format!("{}:", finding_name(finding))),
        finding.message,
        finding.advice
    );
    layout.fill(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::digitd::v1::FindingKind;

    #[test]
    fn a_finding_is_shown_with_its_advice() {
        let finding = Finding {
            kind: FindingKind::DeadChannels.into(),
            message: "relu1[3] is 0 for every one of 10 images.".into(),
            advice: "Train anew.".into(),
            ..Finding::default()
        };
        let layer = LayerHealth {
            name: "relu1".into(),
            zero_fractions: vec![0.5, 1.0],
            means: vec![0.25, 0.0],
            stds: vec![0.5, 0.0],
            dead_channels: vec![1],
            ..LayerHealth::default()
        };
        let it = NetworkHealth {
            findings: vec![finding],
            dataset: "mnist".into(),
            split: crate::pb::digitd::v1::Split::Test.into(),
            images: 10_000,
            layers: vec![layer],
            accuracy: Some(0.5),
            saturated_fraction: Some(0.0),
            ..NetworkHealth::default()
        };
        let text = health(&it, Layout::PLAIN);
        assert!(text.starts_with("health on 10 000 test images of mnist: 1 finding;"), "{text}");
        assert!(
            text.contains("dead channels: relu1[3] is 0 for every one of 10 images.\n  Train anew.\n"),
            "{text}"
        );
        let row = text.lines().last().unwrap().split_whitespace().collect::<Vec<_>>();
        assert_eq!(row, ["relu1", "2", "75.00", "%", "100.00", "%", "0.125", "0.5", "1"]);
        let none = NetworkHealth { findings: Vec::new(), ..it };
        assert!(health(&none, Layout::PLAIN).contains(": no findings;"));
    }
}
