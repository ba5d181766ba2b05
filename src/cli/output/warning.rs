//! A warning of a run: what was found, where, by which numbers, and what to do.

use super::{figure::name_of, table::Ink, width};
use crate::pb::digitd::v1::{Measurement, Warning, WarningRule};

/// What was found, and below it the advice, in lines that fit.
pub fn warning(it: &Warning, ink: Ink) -> String {
    let options = textwrap::Options::new(width()).subsequent_indent("  ");
    textwrap::fill(&told(it, ink), options)
}

/// One line of what was found and one of advice.
fn told(it: &Warning, ink: Ink) -> String {
    let style = console::Style::new().yellow().bold().force_styling(ink == Ink::Colour);
    let mut text = format!("{} {}", style.apply_to("warning:"), rule_name(it.rule()));
    for subject in [&it.layer, &it.parameter] {
        if !subject.is_empty() {
            text += &format!(", {subject}");
        }
    }
    text += &listed(" channels ", &it.channels);
    text += &listed(", classes ", &it.classes);
    let place = match it.batch {
        Some(batch) => format!("epoch {}, batch {batch}", it.epoch),
        None => format!("epoch {}", it.epoch),
    };
    let numbers: Vec<String> = it.measurements.iter().map(number).collect();
    format!("{text} ({place}): {}\n{}", numbers.join(", "), it.advice)
}

/// The rule's name for people.
pub fn rule_name(rule: WarningRule) -> String {
    name_of(rule.as_str_name(), "WARNING_RULE")
}

/// The first ten, and that there are more.
fn listed(name: &str, numbers: &[i32]) -> String {
    const MOST: usize = 10;
    if numbers.is_empty() {
        return String::new();
    }
    let shown: Vec<String> = numbers.iter().take(MOST).map(i32::to_string).collect();
    let more = if numbers.len() > MOST { ", ..." } else { "" };
    format!("{name}{}{more}", shown.join(", "))
}

fn number(it: &Measurement) -> String {
    let value = it.value.map(figure).unwrap_or_default();
    let threshold = it.threshold.map(|threshold| format!(" (threshold {})", figure(threshold)));
    format!("{} {value}{}", it.name.replace('_', " "), threshold.unwrap_or_default())
}

/// Four digits, as powers of ten where the number is far from 1.
pub fn figure(value: f64) -> String {
    match value.abs() {
        size if size == 0.0 || (1e-3..1e5).contains(&size) => {
            let text = format!("{value:.4}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        _ => format!("{value:.3e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_tells_its_place_its_numbers_and_the_advice() {
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
        assert_eq!(told(&dead, Ink::Plain), expected);
        let small = Warning {
            rule: WarningRule::UpdateRatio.into(),
            epoch: 1,
            batch: Some(101),
            parameter: "fc.weight".to_owned(),
            measurements: vec![measured("update_to_weight", 3.25e-8, Some(1e-6))],
            ..Warning::default()
        };
        let text = told(&small, Ink::Plain);
        let expected = "warning: update ratio, fc.weight (epoch 1, batch 101): update to weight 3.250e-8 (threshold 1.000e-6)";
        assert!(text.starts_with(expected), "{text}");
        assert!(told(&small, Ink::Colour).contains("\u{1b}["));
        let lines = warning(&dead, Ink::Plain);
        assert!(lines.lines().all(|line| line.chars().count() <= width()), "{lines}");
        assert_eq!(lines.split_whitespace().collect::<Vec<_>>(), expected_words(&dead));
    }

    fn expected_words(it: &Warning) -> Vec<String> {
        told(it, Ink::Plain).split_whitespace().map(str::to_owned).collect()
    }
}
