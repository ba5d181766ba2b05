//! Tests of the text of an evaluation.

use super::*;
use crate::{
    data::image,
    pb::digitd::v1::{Calibration, ConfusionMatrixRow, McNemar, TopAccuracy},
};

fn two_classes() -> EvaluateResponse {
    let class = |label, precision| ClassReport {
        label: Some(label),
        precision,
        recall: Some(0.75),
        f1: Some(0.5),
        support: Some(1200),
        roc_auc: Some(0.999),
        ..ClassReport::default()
    };
    let rows = vec![ConfusionMatrixRow { counts: vec![8, 0] }, ConfusionMatrixRow { counts: vec![3, 9] }];
    EvaluateResponse {
        name: "digits".into(),
        version: 3,
        dataset: "mnist".into(),
        split: Split::Test.into(),
        loss: Some(0.0441),
        accuracy: Some(0.9858),
        accuracy_low: Some(0.9833),
        accuracy_high: Some(0.9879),
        correct: Some(9858),
        total: 10_000,
        classes: vec![class(0, Some(1.0)), class(1, None)],
        confusion_matrix: Some(ConfusionMatrix { rows }),
        seconds: Some(1.5),
        top_accuracies: vec![
            TopAccuracy { k: 1, accuracy: Some(0.9858) },
            TopAccuracy { k: 2, accuracy: Some(0.999) },
        ],
        macro_average: Some(AveragedReport { precision: Some(0.5), ..AveragedReport::default() }),
        calibration: Some(Calibration { expected_calibration_error: Some(0.0031), bins: Vec::new() }),
        ..EvaluateResponse::default()
    }
}

#[test]
fn the_totals_are_one_line_and_the_rest_follows() {
    let text = evaluation(&two_classes(), Layout::PLAIN);
    let head = "digits version 3 on mnist test: accuracy 98.58 % (9 858 of 10 000), loss 0.0441, in 1.5 s";
    assert_eq!(text.lines().next(), Some(head));
    assert!(text.contains("  95 % interval      98.33 % to 98.79 %\n"), "{text}");
    assert!(text.contains("  top-k accuracy     2 99.90 %\n"), "{text}");
    assert!(text.contains("  calibration error  0.31 %\n"), "{text}");
}

#[test]
fn a_class_that_was_never_predicted_has_no_precision() {
    let text = evaluation(&two_classes(), Layout::PLAIN);
    let row = |text: &str, name: &str| {
        let found = text.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap();
        found.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row(&text, "0"), "0 100.00 % 75.00 % 50.00 % 1 200 99.90 % -");
    assert_eq!(row(&text, "1"), "1 - 75.00 % 50.00 % 1 200 99.90 % -");
    assert_eq!(row(&text, "macro"), "macro 50.00 % - - - -");
}

#[test]
fn labels_are_rows_and_predictions_columns() {
    let text = evaluation(&two_classes(), Layout::PLAIN);
    let rows: Vec<&str> = text.lines().rev().take(2).collect();
    assert_eq!(rows[1].split_whitespace().collect::<Vec<_>>(), ["0", "8", "·"]);
    assert_eq!(rows[0].split_whitespace().collect::<Vec<_>>(), ["1", "3", "9"]);
}

#[test]
fn the_matrix_is_coloured_where_colour_is_on() {
    let text = evaluation(&two_classes(), Layout::COLORED);
    // The diagonal is green, the most frequent confusion red.
    assert!(text.contains("\u{1b}[38;5;10m") && text.contains("\u{1b}[38;5;9m"), "{text:?}");
    assert!(!evaluation(&two_classes(), Layout::PLAIN).contains('\u{1b}'));
}

#[test]
fn a_large_matrix_is_a_list_of_the_most_frequent_confusions() {
    let mut rows = vec![ConfusionMatrixRow { counts: vec![1; 40] }; 40];
    rows[7].counts[3] = 99;
    let matrix = Some(ConfusionMatrix { rows });
    let text = evaluation(&EvaluateResponse { confusion_matrix: matrix, ..two_classes() }, Layout::PLAIN);
    let listed = text.split("Most frequent of 1560 confusions:\n").nth(1).unwrap();
    assert_eq!(listed.lines().nth(2).unwrap().split_whitespace().collect::<Vec<_>>(), ["7", "3", "99"]);
    assert_eq!(listed.lines().count(), 2 + MAX_CONFUSIONS);
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn two_versions_are_shown_side_by_side_with_their_paired_test() {
    let other = Some(Box::new(EvaluateResponse { version: 2, accuracy: Some(0.9), ..two_classes() }));
    let mcnemar = Some(McNemar { p_value: Some(0.0312), ..McNemar::default() });
    let comparison = VersionComparison { other, mcnemar, only_first: Some(6), ..Default::default() };
    let response = EvaluateResponse { comparison: Some(Box::new(comparison)), ..two_classes() };
    let text = evaluation(&response, Layout::PLAIN);
    assert!(text.contains("Compared with digits version 2:\n"), "{text}");
    assert!(
        text.contains("only the first 6") && text.contains("p = 0.031, a significant difference"),
        "{text}"
    );
    let certain = McNemar { p_value: Some(1e-9), ..McNemar::default() };
    let certain = mcnemar_sentence(&VersionComparison { mcnemar: Some(certain), ..Default::default() });
    assert!(certain.contains("p < 0.001, a significant difference"), "{certain}");
    assert!(text.contains(" version 3") && text.contains("90.00 % (9 858 of 10 000)"), "{text}");
    assert_eq!(text.matches("Confusion matrix (rows: labels, columns: predictions):").count(), 2);
}

#[test]
fn misclassified_images_are_rows_or_drawn() {
    let png = image::to_png(&[255; 784], 28, 28);
    let image = MisclassifiedImage {
        index: Some(321),
        label: Some(0),
        predicted: Some(1),
        loss: Some(2.0),
        probabilities: vec![0.125, 0.875],
        png: png.into(),
        ..MisclassifiedImage::default()
    };
    let response = EvaluateResponse { misclassified: vec![image], ..two_classes() };
    let rows = misclassified_images(&response, false, Layout::PLAIN);
    let row = rows.lines().last().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(row, "321 0 1 87.50 % 12.50 % 2.0000");
    let drawn = misclassified_images(&response, true, Layout::PLAIN);
    assert!(drawn.contains("████") && drawn.contains("321: 0 as 1 87.50 %"), "{drawn}");
    assert!(misclassified_images(&two_classes(), true, Layout::PLAIN).is_empty());
}

#[test]
fn a_temperature_is_shown_with_its_calibration_or_as_missing() {
    let none = Temperature { fitted_images: 10_000, ..Temperature::default() };
    assert!(temperature(&none).starts_with("none: "), "{}", temperature(&none));
    let some = Temperature { temperature: Some(1.25), loss: Some(0.03), ..none };
    assert!(temperature(&some).starts_with("1.2500, fitted on 10 000 validation images: loss 0.0300"));
}
