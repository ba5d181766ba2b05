//! A warning of a run: the rule, the place, the measurements, and the advice.

use super::{
    layout::{Color, Layout},
    names::enum_label,
    number::significant,
};
use crate::pb::digitd::v1::{Measurement, Warning, WarningRule};

/// The warning, and below it the advice, in lines that fit.
pub fn warning(it: &Warning, layout: Layout) -> String {
    layout.fill(&unwrapped(it, layout))
}

/// A line of the warning and one of advice.
fn unwrapped(it: &Warning, layout: Layout) -> String {
    let style = console::Style::new().yellow().bold().force_styling(layout.color == Color::On);
    let mut text = format!("{} {}", style.apply_to("warning:"), rule_label(it.rule()));
    for subject in [&it.layer, &it.parameter] {
        if !subject.is_empty() {
            text += &format!(", {subject}");
        }
    }
    text += &first_numbers(" channels ", &it.channels);
    text += &first_numbers(", classes ", &it.classes);
    let position = match it.batch {
        Some(batch) => format!("epoch {}, batch {batch}", it.epoch),
        None => format!("epoch {}", it.epoch),
    };
    let numbers: Vec<String> = it.measurements.iter().map(number).collect();
    format!("{text} ({position}): {}\n{}", numbers.join(", "), it.advice)
}

/// The name of the rule in words.
pub fn rule_label(rule: WarningRule) -> String {
    enum_label(rule.as_str_name(), "WARNING_RULE")
}

/// The first ten of a list, with an ellipsis where there are more.
fn first_numbers(name: &str, numbers: &[i32]) -> String {
    const MAX_SHOWN: usize = 10;
    if numbers.is_empty() {
        return String::new();
    }
    let shown: Vec<String> = numbers.iter().take(MAX_SHOWN).map(i32::to_string).collect();
    let more = if numbers.len() > MAX_SHOWN { ", ..." } else { "" };
    format!("{name}{}{more}", shown.join(", "))
}

fn number(it: &Measurement) -> String {
    let value = it.value.map(significant).unwrap_or_default();
    let threshold = it.threshold.map(|threshold| format!(" (threshold {})", significant(threshold)));
    format!("{} {value}{}", it.name.replace('_', " "), threshold.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_shows_its_location_its_measurements_and_the_advice() {
        let measured = |name: &str, value, threshold| Measurement {
            name: name.to_owned(),
            value: Some(value),
            threshold,
        };
        let dead = Warning {
            rule: WarningRule::DeadChannels.into(),
            epoch: 2,
            step: 1000,
            layer: "relu1".to_owned(),
            channels: (0..12).collect(),
            measurements: vec![measured("dead_channels", 12.0, Some(0.0)), measured("channels", 20.0, None)],
            advice: "Lower it.".to_owned(),
            ..Warning::default()
        };
        let expected = "warning: dead channels, relu1 channels 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ... (epoch 2): dead \
                        channels 12 (threshold 0), channels 20\nLower it.";
        assert_eq!(unwrapped(&dead, Layout::PLAIN), expected);
        let small = Warning {
            rule: WarningRule::UpdateRatio.into(),
            epoch: 1,
            batch: Some(101),
            parameter: "fc.weight".to_owned(),
            measurements: vec![measured("update_to_weight", 3.25e-8, Some(1e-6))],
            ..Warning::default()
        };
        let text = unwrapped(&small, Layout::PLAIN);
        let expected = "warning: update ratio, fc.weight (epoch 1, batch 101): update to weight 3.250e-8 (threshold 1.000e-6)";
        assert!(text.starts_with(expected), "{text}");
        assert!(unwrapped(&small, Layout::COLORED).contains("\u{1b}["));
        // Advice that fills its first line to the last column.
        let advice = format!("{} end", "x".repeat(Layout::PLAIN.width - "  ".len()));
        let dead = Warning { advice, ..dead };
        let lines = warning(&dead, Layout::PLAIN);
        assert!(lines.lines().all(|line| line.chars().count() <= Layout::PLAIN.width), "{lines}");
        assert_eq!(lines.split_whitespace().collect::<Vec<_>>(), expected_words(&dead));
    }

    fn expected_words(it: &Warning) -> Vec<String> {
        unwrapped(it, Layout::PLAIN).split_whitespace().map(str::to_owned).collect()
    }
}
