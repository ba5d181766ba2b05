//! Two versions compared: parameters, outputs, and the images whose prediction changed.

use super::{
    layout::Layout,
    names::{class_label, enum_label},
    number::{count, percent, significant},
    table,
};
use crate::pb::digitd::v1::{
    ChangedPrediction, CompareVersionsResponse, ComparedVersion, OutputDistance, ParameterDistance,
};

/// The whole comparison.
pub fn version_comparison(it: &CompareVersionsResponse, layout: Layout) -> String {
    let mut text = format!("{}\n\n", layout.fill(&comparison_title(it)));
    let mut table = table::table(layout, &PARAMETER_COLUMNS);
    for parameter in &it.parameters {
        table.add_row(parameter_row(parameter));
    }
    text += &table::text(&table);
    if !it.unmatched_parameters.is_empty() {
        let names = it.unmatched_parameters.join(", ");
        text +=
            &(layout.fill(&format!("parameters without a counterpart of the same shape: {names}")) + "\n");
    }
    let mut table = table::table(layout, &OUTPUT_COLUMNS);
    for output in &it.outputs {
        table.add_row(output_row(output));
    }
    text += &format!("\n{}\n{}\n", table::text(&table), layout.fill(&changed_title(it)));
    if !it.changed_predictions.is_empty() {
        let mut table = table::table(layout, &CHANGED_COLUMNS);
        for image in &it.changed_predictions {
            table.add_row(changed_row(image, &it.class_names));
        }
        text += &table::text(&table);
    }
    text
}

/// The two versions with their accuracies, and the images that they were measured on.
pub fn comparison_title(it: &CompareVersionsResponse) -> String {
    let version = |version: &Option<ComparedVersion>| {
        let version = version.clone().unwrap_or_default();
        (format!("{} version {}", version.name, version.version), percent(version.accuracy))
    };
    let ((before, old), (after, new)) = (version(&it.before), version(&it.after));
    let split = enum_label(it.split().as_str_name(), "SPLIT");
    format!(
        "{after} compared with {before}: accuracy {new} and {old} on {} {split} images of {}",
        count(it.images),
        it.dataset
    )
}

/// How many predictions changed, and how.
pub fn changed_title(it: &CompareVersionsResponse) -> String {
    let number = |value: Option<i32>| count(value.unwrap_or_default());
    let shown = match it.changed_predictions.len() as i32 {
        all if Some(all) == it.changed => String::new(),
        some => format!("; the first {}", count(some)),
    };
    format!(
        "changed predictions: {} of {}; {} became correct, {} became incorrect{shown}",
        number(it.changed),
        count(it.images),
        number(it.became_right),
        number(it.became_wrong)
    )
}

/// Columns of the table of parameters.
pub const PARAMETER_COLUMNS: [&str; 6] =
    ["parameter<", "distance", "relative", "largest", "cosine", "unchanged"];

pub fn parameter_row(it: &ParameterDistance) -> [String; 6] {
    [
        it.name.clone(),
        significant(it.distance.unwrap_or_default()),
        percent(it.relative),
        significant(it.max_abs.unwrap_or_default()),
        it.cosine.map_or_else(|| "-".to_owned(), |cosine| format!("{cosine:.4}")),
        format!("{} of {}", count(it.unchanged.unwrap_or_default()), count(it.count)),
    ]
}

/// Columns of the table of layer outputs.
pub const OUTPUT_COLUMNS: [&str; 4] = ["layer<", "RMS difference", "relative", "largest"];

pub fn output_row(it: &OutputDistance) -> [String; 4] {
    [
        it.name.clone(),
        significant(it.rms.unwrap_or_default()),
        percent(it.relative),
        significant(it.max_abs.unwrap_or_default()),
    ]
}

/// Columns of the table of changed predictions.
pub const CHANGED_COLUMNS: [&str; 6] = ["image", "label<", "before<", "", "after<", ""];

pub fn changed_row(it: &ChangedPrediction, names: &[String]) -> [String; 6] {
    let class = |class: Option<i32>| class_label(names, class.unwrap_or_default());
    [
        it.index.unwrap_or_default().to_string(),
        class(it.label),
        class(it.first),
        percent(it.first_probability),
        class(it.second),
        percent(it.second_probability),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_and_changed_predictions_are_shown() {
        let version = |version, accuracy| {
            Some(ComparedVersion { name: "digits".into(), version, accuracy: Some(accuracy) })
        };
        let parameter = ParameterDistance {
            name: "fc.bias".into(),
            count: 10,
            distance: Some(5.0),
            unchanged: Some(8),
            ..Default::default()
        };
        let changed = ChangedPrediction {
            index: Some(17),
            label: Some(1),
            first: Some(0),
            first_probability: Some(0.5),
            second: Some(1),
            second_probability: Some(0.75),
        };
        let it = CompareVersionsResponse {
            before: version(1, 0.5),
            after: version(2, 0.75),
            parameters: vec![parameter],
            unmatched_parameters: vec!["bn.weight".into()],
            dataset: "mnist".into(),
            split: crate::pb::digitd::v1::Split::Test.into(),
            images: 1000,
            changed: Some(2),
            became_right: Some(2),
            became_wrong: Some(0),
            changed_predictions: vec![changed],
            class_names: vec!["zero".into(), "one".into()],
            ..Default::default()
        };
        let text = version_comparison(&it, Layout::PLAIN);
        let title = "digits version 2 compared with digits version 1: accuracy 75.00 % and 50.00 % on 1 000";
        assert!(text.starts_with(title), "{text}");
        assert!(
            text.contains(
                "changed predictions: 2 of 1 000; 2 became correct, 0 became incorrect; the first 1"
            )
        );
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let bias = words(text.lines().find(|line| line.contains("fc.bias")).unwrap());
        assert_eq!(bias, ["fc.bias", "5", "-", "0", "-", "8", "of", "10"]);
        let last = words(text.lines().last().unwrap());
        assert_eq!(last, ["17", "one", "zero", "50.00", "%", "one", "75.00", "%"]);
        assert!(text.contains("parameters without a counterpart of the same shape: bn.weight"));
    }
}
