//! Two versions beside each other: parameters, outputs, and the images whose answer changed.

use super::{
    class_of,
    figure::name_of,
    number::{count, percent},
    table::{self, Ink},
    warning::figure,
    width,
};
use crate::pb::digitd::v1::{
    ChangedAnswer, CompareVersionsResponse, ComparedVersion, OutputDistance, ParameterDistance,
};

/// All of it.
pub fn difference(it: &CompareVersionsResponse, ink: Ink) -> String {
    let fill = |text: &str| textwrap::fill(text, textwrap::Options::new(width()).subsequent_indent("  "));
    let mut text = format!("{}\n\n", fill(&difference_title(it)));
    let mut table = table::table(ink, &PARAMETER_COLUMNS);
    for parameter in &it.parameters {
        table.add_row(parameter_row(parameter));
    }
    text += &table::text(&table);
    if !it.unmatched_parameters.is_empty() {
        let names = it.unmatched_parameters.join(", ");
        text += &(fill(&format!("only in one, or of another shape: {names}")) + "\n");
    }
    let mut table = table::table(ink, &OUTPUT_COLUMNS);
    for output in &it.outputs {
        table.add_row(output_row(output));
    }
    text += &format!("\n{}\n{}\n", table::text(&table), fill(&changed_title(it)));
    if !it.changed_answers.is_empty() {
        let mut table = table::table(ink, &CHANGED_COLUMNS);
        for image in &it.changed_answers {
            table.add_row(changed_row(image, it));
        }
        text += &table::text(&table);
    }
    text
}

pub fn difference_title(it: &CompareVersionsResponse) -> String {
    let version = |version: &Option<ComparedVersion>| {
        let version = version.clone().unwrap_or_default();
        (format!("{} version {}", version.name, version.version), percent(version.accuracy))
    };
    let ((before, old), (after, new)) = (version(&it.before), version(&it.after));
    let split = name_of(it.split().as_str_name(), "SPLIT");
    format!(
        "{after} beside {before}: accuracy {new} and {old} over {} {split} images of {}",
        count(it.images),
        it.dataset
    )
}

pub fn changed_title(it: &CompareVersionsResponse) -> String {
    let number = |value: Option<i32>| count(value.unwrap_or_default());
    let listed = match it.changed_answers.len() as i32 {
        all if Some(all) == it.changed => String::new(),
        some => format!("; the first {}", count(some)),
    };
    format!(
        "answers that changed: {} of {}; {} became right, {} became wrong{listed}",
        number(it.changed),
        count(it.images),
        number(it.became_right),
        number(it.became_wrong)
    )
}

pub const PARAMETER_COLUMNS: [&str; 6] =
    ["parameter<", "distance", "of its norm", "largest", "cosine", "unchanged"];

pub fn parameter_row(it: &ParameterDistance) -> [String; 6] {
    [
        it.name.clone(),
        figure(it.distance.unwrap_or_default()),
        percent(it.relative),
        figure(it.max_abs.unwrap_or_default()),
        it.cosine.map_or_else(|| "-".to_owned(), |cosine| format!("{cosine:.4}")),
        format!("{} of {}", count(it.unchanged.unwrap_or_default()), count(it.count)),
    ]
}

pub const OUTPUT_COLUMNS: [&str; 4] = ["output of<", "root mean square", "of its size", "largest"];

pub fn output_row(it: &OutputDistance) -> [String; 4] {
    [
        it.name.clone(),
        figure(it.rms.unwrap_or_default()),
        percent(it.relative),
        figure(it.max_abs.unwrap_or_default()),
    ]
}

pub const CHANGED_COLUMNS: [&str; 6] = ["image", "label<", "before<", "", "after<", ""];

pub fn changed_row(it: &ChangedAnswer, of: &CompareVersionsResponse) -> [String; 6] {
    let class = |class: Option<i32>| class_of(&of.class_names, class.unwrap_or_default());
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
    fn what_moved_and_what_changed_is_told() {
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
        let changed = ChangedAnswer {
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
            changed_answers: vec![changed],
            class_names: vec!["zero".into(), "one".into()],
            ..Default::default()
        };
        let text = difference(&it, Ink::Plain);
        let title = "digits version 2 beside digits version 1: accuracy 75.00 % and 50.00 % over 1 000 test";
        assert!(text.starts_with(title), "{text}");
        assert!(
            text.contains("answers that changed: 2 of 1 000; 2 became right, 0 became wrong; the first 1")
        );
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let bias = words(text.lines().find(|line| line.contains("fc.bias")).unwrap());
        assert_eq!(bias, ["fc.bias", "5", "-", "0", "-", "8", "of", "10"]);
        let last = words(text.lines().last().unwrap());
        assert_eq!(last, ["17", "one", "zero", "50.00", "%", "one", "75.00", "%"]);
        assert!(text.contains("only in one, or of another shape: bn.weight"));
    }
}
