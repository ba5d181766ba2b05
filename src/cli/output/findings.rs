//! What is wrong with a network, finding by finding, and its layers in numbers.

use super::{
    figure::name_of,
    number::{count, percent},
    table::{self, Ink, Tone, cell},
    warning::figure,
    width,
};
use crate::pb::digitd::v1::{Finding, LayerHealth, NetworkHealth, StartWeights};

/// The findings with their advice, then a row for every layer.
pub fn health(it: &NetworkHealth, ink: Ink) -> String {
    let mut text = textwrap::fill(&health_title(it), textwrap::Options::new(width()).subsequent_indent("  "));
    text.push('\n');
    for finding in &it.findings {
        text += &told(finding, ink);
        text.push('\n');
    }
    text.push('\n');
    let mut table = table::table(ink, &HEALTH_COLUMNS);
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

/// Over what it was looked for, and how much was found.
pub fn health_title(it: &NetworkHealth) -> String {
    let split = name_of(it.split().as_str_name(), "SPLIT");
    let found = match it.findings.len() {
        0 => "nothing is wrong".to_owned(),
        1 => "1 finding".to_owned(),
        many => format!("{many} findings"),
    };
    let mut text = format!(
        "health over {} {split} images of {}: {found}; accuracy {}, largest probability 1 for {}",
        count(it.images),
        it.dataset,
        percent(it.accuracy),
        percent(it.saturated_fraction),
    );
    if it.start_weights() == StartWeights::Unknown {
        text += "; whether weights moved is not known";
    }
    text
}

/// What a row of the table of layers tells.
pub const HEALTH_COLUMNS: [&str; 7] =
    ["layer<", "channels", "zeros", "most zeros", "mean", "largest std", "dead<"];

pub fn health_row(layer: &LayerHealth) -> [String; 7] {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let largest = |values: &[f64]| values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let dead: Vec<String> = layer.dead_channels.iter().take(10).map(i32::to_string).collect();
    let more = if layer.dead_channels.len() > 10 { ", ..." } else { "" };
    [
        layer.name.clone(),
        layer.means.len().to_string(),
        percent(Some(mean(&layer.zero_fractions))),
        percent(Some(largest(&layer.zero_fractions))),
        figure(mean(&layer.means)),
        figure(largest(&layer.stds)),
        format!("{}{more}", dead.join(", ")),
    ]
}

/// The kind of a finding for people.
pub fn finding_name(finding: &Finding) -> String {
    name_of(finding.kind().as_str_name(), "FINDING_KIND")
}

fn told(finding: &Finding, ink: Ink) -> String {
    let style = console::Style::new().red().bold().force_styling(ink == Ink::Colour);
    let text = format!(
        "{} {}\n{}",
        style.apply_to(format!("{}:", finding_name(finding))),
        finding.message,
        finding.advice
    );
    textwrap::fill(&text, textwrap::Options::new(width()).subsequent_indent("  "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::digitd::v1::FindingKind;

    #[test]
    fn a_finding_says_what_it_is_and_what_to_do() {
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
        let text = health(&it, Ink::Plain);
        assert!(text.starts_with("health over 10 000 test images of mnist: 1 finding;"), "{text}");
        assert!(
            text.contains("dead channels: relu1[3] is 0 for every one of 10 images.\n  Train anew.\n"),
            "{text}"
        );
        let row = text.lines().last().unwrap().split_whitespace().collect::<Vec<_>>();
        assert_eq!(row, ["relu1", "2", "75.00", "%", "100.00", "%", "0.125", "0.5", "1"]);
        let none = NetworkHealth { findings: Vec::new(), ..it };
        assert!(health(&none, Ink::Plain).contains(": nothing is wrong;"));
    }
}
