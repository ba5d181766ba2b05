//! Tests of requests to evaluate and of their responses.

use super::*;
use crate::{
    data::{DatasetSpec, Split},
    engine::{EvaluationReport, Gate, MisclassifiedImage, Promotion},
    ids::{ModelName, Version},
    metric::{Measures, Predictions},
    pb::digitd::v1,
    registry::{AuditNote, Precondition, VersionSelector},
};

fn evaluated() -> EvaluationReport {
    // The labels are 0, 0, 1 and the predictions 0, 1, 1.
    let logits = vec![3.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 2.0, 0.0];
    let predictions = Predictions::new(3, logits, vec![0, 0, 1]);
    let mistake = MisclassifiedImage {
        index: 1,
        label: 0,
        predicted: 1,
        loss: predictions.loss(1),
        probabilities: predictions.probabilities(1),
        png: None,
    };
    EvaluationReport {
        model: ModelName::default(),
        version: Version::FIRST,
        class_names: ["a", "b", "c"].map(str::to_owned).to_vec(),
        dataset: DatasetSpec::whole("mnist".parse().unwrap()),
        split: Split::Test,
        digest: "d".to_owned(),
        measures: Measures::of(&predictions, 2, 15),
        misclassified: vec![mistake],
        temperature: None,
        comparison: None,
        results: Vec::new(),
        promoted: None,
        seconds: 1.0,
    }
}

#[test]
fn an_evaluation_shows_rows_of_labels_and_leaves_out_what_is_undefined() {
    let response = from_evaluation(evaluated());
    assert_eq!(
        (response.name.as_str(), response.split(), response.batch_size),
        ("digits", v1::Split::Test, 2)
    );
    assert_eq!((response.correct, response.total, response.accuracy), (Some(2), 3, Some(2.0 / 3.0)));
    assert_eq!((response.classes[0].label, response.classes[2].label_name()), (Some(0), "c"));
    assert_eq!(response.confusion_matrix.unwrap().rows[0].counts, [1, 1, 0]);
    let absent = &response.classes[2];
    assert_eq!((absent.precision, absent.support, absent.roc_auc), (None, Some(0), None));
    assert_eq!(response.top_accuracies.iter().map(|top| top.k).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(
        (response.misclassified[0].predicted_name(), response.misclassified[0].probabilities.len()),
        ("b", 3)
    );
    assert!(response.temperature.is_none() && response.comparison.is_none() && response.promoted.is_none());
}

#[test]
fn an_evaluation_defaults_to_the_test_split() {
    let job = evaluate_request(v1::EvaluateRequest::default(), None).unwrap();
    assert_eq!((job.split, job.batch_size, job.bins, job.misclassified), (Split::Test, 1000, 15, 10));
    assert!(job.dataset.is_none() && job.compare_to.is_none() && job.gate == Gate::default());
}

#[test]
fn fields_of_an_evaluation_are_checked_by_name() {
    let field = |change: fn(&mut v1::EvaluateRequest)| {
        let mut request =
            v1::EvaluateRequest { require: vec!["accuracy>=0.9".to_owned()], ..Default::default() };
        change(&mut request);
        evaluate_request(request, None).unwrap_err().field
    };
    let nameless = || v1::ModelRef { name: "a/b".to_owned(), which: None };
    assert_eq!(field(|it| it.batch_size = Some(0)), "batch_size");
    assert_eq!(field(|it| it.misclassified = Some(101)), "misclassified");
    assert_eq!(field(|it| it.misclassified = Some(-1)), "misclassified");
    assert_eq!(field(|it| it.calibration_bins = Some(0)), "calibration_bins");
    let mut request = v1::EvaluateRequest { compare_to: Some(nameless()), ..Default::default() };
    assert_eq!(evaluate_request(request.clone(), None).unwrap_err().field, "compare_to.name");
    assert_eq!(field(|it| it.require.push("accuracy".to_owned())), "require[1]");
    assert_eq!(field(|it| it.require = vec!["loss<=NaN".to_owned()]), "require[0]");
    assert_eq!(field(|it| it.require = vec!["loss<=1".to_owned(); 11]), "require");
    assert_eq!(field(|it| it.promote = Some(v1::Promotion::default())), "promote.alias");
    let promote = v1::Promotion { alias: "production".to_owned(), ..Default::default() };
    request = v1::EvaluateRequest { promote: Some(promote), ..Default::default() };
    assert_eq!(evaluate_request(request, None).unwrap_err().field, "promote");
}

#[test]
fn an_alias_is_measured_for_only_where_something_is_required() {
    let promotion = || Promotion {
        alias: "production".parse().unwrap(),
        expected: Precondition::Unset,
        note: AuditNote::new("ana", "better"),
    };
    let of = |request: v1::SetAliasRequest| {
        gated_alias(&request, (&ModelName::default(), Version::FIRST), &promotion())
    };
    assert!(of(v1::SetAliasRequest::default()).unwrap().is_none());
    let split = v1::SetAliasRequest { split: v1::Split::Test.into(), ..Default::default() };
    assert_eq!(of(split).unwrap_err().field, "split");
    let dataset = v1::SetAliasRequest { dataset: Some(v1::Dataset::default()), ..Default::default() };
    assert_eq!(of(dataset).unwrap_err().field, "dataset");
    let wrong = v1::SetAliasRequest { require: vec!["accuracy>=99".to_owned()], ..Default::default() };
    assert_eq!(of(wrong).unwrap_err().field, "require[0]");
    let right = v1::SetAliasRequest { require: vec!["accuracy>=0.99".to_owned()], ..Default::default() };
    let job = of(right).unwrap().unwrap();
    assert_eq!(job.model.which, VersionSelector::Version(Version::FIRST));
    assert_eq!((job.split, job.misclassified, job.gate.promotion), (Split::Test, 0, Some(promotion())));
}
