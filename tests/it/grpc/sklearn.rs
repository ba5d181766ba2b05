//! Every metric of an evaluation against scikit-learn and SciPy: on random and degenerate predictions, and
//! over the wire on those of a trained network.

use std::{ops::ControlFlow, process::Command};

use digitd::{
    checkpoint::{self, NetworkSpec},
    data::{Catalog, DeviceSet, FetchPolicy, Random, Split, Stream},
    eval,
    ids::{ModelName, Version},
    metric::{Means, Measures, PairedComparison, Predictions, calibration, temperature},
    nn::{Network, Shape},
    pb::digitd::v1::{self, Precision, model_ref::Which},
    registry::{Manifest, Registry},
};
use serde_json::{Value, json};

use super::server::{TestServer, collect, tiny};
use crate::{cli::program::feed, support};

const REFERENCE: &str = include_str!("sklearn.py");

/// A case for the reference.
struct Case {
    predict_split: Predictions,
    second: Predictions,
    validation: Predictions,
    batch: usize,
    bins: usize,
}

/// Computes the cases with the reference. None if it is not installed.
fn reference(cases: &[Case]) -> Option<Vec<Value>> {
    let python = support::python("sklearn", "sklearn")?;
    let rows = |predict_split: &Predictions| {
        (0..predict_split.len()).map(|at| predict_split.logits(at).to_vec()).collect::<Vec<_>>()
    };
    let labels = |predict_split: &Predictions| {
        (0..predict_split.len()).map(|at| predict_split.label(at)).collect::<Vec<_>>()
    };
    let asked = cases.iter().map(|case| {
        json!({
            "classes": case.predict_split.classes(),
            "logits": rows(&case.predict_split),
            "labels": labels(&case.predict_split),
            "second": rows(&case.second),
            "validation": rows(&case.validation),
            "validation_labels": labels(&case.validation),
            "batch": case.batch,
            "bins": case.bins,
        })
    });
    let asked = Value::Array(asked.collect()).to_string();
    let printed = feed(Command::new(python).args(["-W", "error", "-c", REFERENCE]), asked.as_bytes());
    Some(serde_json::from_str(&printed.ok()).unwrap())
}

/// The same metrics as digitd computes them.
fn figures(case: &Case) -> Value {
    let measures = Measures::of(&case.predict_split, case.batch, case.bins);
    let (contest, best) =
        (PairedComparison::of(&case.predict_split, &case.second, 100), temperature(&case.validation));
    let test = contest.mcnemar();
    let after = best.map(|best| {
        let with_temperature = case.predict_split.with_temperature(best);
        json!([with_temperature.mean_loss(), calibration(&with_temperature, case.bins).unwrap().error])
    });
    let classes = measures.confusion.class_reports().into_iter().zip(&measures.rankings);
    let classes: Vec<Value> = classes
        .map(|(it, ranking)| {
            json!([it.precision, it.recall, it.f1, it.support, ranking.roc_auc, ranking.average_precision])
        })
        .collect();
    let means = |it: Means| json!([it.precision, it.recall, it.f1, it.roc_auc, it.average_precision]);
    let reliability = measures.calibration.as_ref().unwrap();
    let bins: Vec<Value> =
        reliability.bins.iter().map(|bin| json!([bin.count, bin.confidence, bin.accuracy])).collect();
    let interval = measures.interval.unwrap();
    let rows: Vec<&[u32]> =
        (0..case.predict_split.classes()).map(|label| measures.confusion.row(label)).collect();
    json!({
        "loss": measures.loss,
        "accuracy": measures.accuracy(),
        "batch_means": [measures.batch_mean_loss, measures.batch_mean_accuracy],
        "interval": [interval.low, interval.high],
        "top": measures.top,
        "classes": classes,
        "averages": {"macro": means(measures.macro_means), "weighted": means(measures.weighted_means)},
        "confusion": rows,
        "calibration": {"error": reliability.error, "bins": bins},
        "worst": case.predict_split.misclassified(10),
        "contest": {
            "agreement": contest.agreement(),
            "counts": [contest.both_right, contest.only_first, contest.only_second, contest.both_wrong],
            "p_value": test.p_value,
            "statistic": test.statistic,
            "chi_squared_p_value": test.chi_squared_p_value,
            "changed": contest.listed.iter().map(|it| it.index).collect::<Vec<_>>(),
        },
        "temperature": [best, after],
    })
}

/// The same metrics as a response has them.
fn from_response(response: &v1::EvaluateResponse) -> Value {
    let means = |it: &Option<v1::AveragedReport>| {
        let it = it.as_ref().unwrap();
        json!([it.precision, it.recall, it.f1, it.roc_auc, it.average_precision])
    };
    let classes = response
        .classes
        .iter()
        .map(|it| json!([it.precision, it.recall, it.f1, it.support, it.roc_auc, it.average_precision]));
    let reliability = response.calibration.as_ref().unwrap();
    let bins = reliability.bins.iter().map(|bin| json!([bin.count, bin.confidence, bin.accuracy]));
    let rows = response.confusion_matrix.as_ref().unwrap().rows.iter();
    let comparison = response.comparison.as_ref().unwrap();
    let (test, fitted) = (comparison.mcnemar.unwrap(), response.temperature.as_ref().unwrap());
    let counts =
        [comparison.both_right, comparison.only_first, comparison.only_second, comparison.both_wrong];
    json!({
        "loss": response.loss,
        "accuracy": response.accuracy,
        "batch_means": [response.batch_mean_loss, response.batch_mean_accuracy],
        "interval": [response.accuracy_low, response.accuracy_high],
        "top": response.top_accuracies.iter().map(|top| top.accuracy).collect::<Vec<_>>(),
        "classes": classes.collect::<Vec<_>>(),
        "averages": {"macro": means(&response.macro_average), "weighted": means(&response.weighted_average)},
        "confusion": rows.map(|row| row.counts.clone()).collect::<Vec<_>>(),
        "calibration": {
            "error": reliability.expected_calibration_error,
            "bins": bins.collect::<Vec<_>>(),
        },
        "worst": response.misclassified.iter().map(|it| it.index).collect::<Vec<_>>(),
        "contest": {
            "agreement": comparison.agreement,
            "counts": counts,
            "p_value": test.p_value,
            "statistic": test.statistic,
            "chi_squared_p_value": test.chi_squared_p_value,
            "changed": comparison.changed.iter().map(|it| it.index).collect::<Vec<_>>(),
        },
        "temperature": [fitted.temperature, [fitted.loss, fitted.expected_calibration_error]],
    })
}

/// Checks that two values agree to 1e-9, relatively for large numbers; returns how many numbers they hold.
fn check(found: &Value, expected: &Value, place: &str) -> usize {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            assert!(found.keys().eq(expected.keys()), "{place}: {found:?} and {expected:?}");
            found.iter().map(|(key, value)| check(value, &expected[key], &format!("{place}.{key}"))).sum()
        }
        (Value::Array(found), Value::Array(expected)) => {
            assert_eq!(found.len(), expected.len(), "{place}: {found:?} and {expected:?}");
            let pairs = found.iter().zip(expected).enumerate();
            pairs.map(|(at, (found, expected))| check(found, expected, &format!("{place}[{at}]"))).sum()
        }
        (Value::Number(found), Value::Number(expected)) => {
            let (found, expected) = (found.as_f64().unwrap(), expected.as_f64().unwrap());
            let off = (found - expected).abs();
            assert!(off <= 1e-9 * expected.abs().max(1.0), "{place}: {found} and {expected}");
            1
        }
        _ => {
            assert_eq!(found, expected, "{place}");
            0
        }
    }
}

/// Labels, and logits that are `skill` higher at the label, both random and then changed by `shape`.
fn drawn(seed: u64, (n, classes): (usize, usize), skill: f64, shape: fn(f64) -> f64) -> Predictions {
    let mut random = Random::new(seed, Stream::Init, 0, 0);
    let labels: Vec<u8> = (0..n).map(|_| u8::try_from(random.below(classes)).unwrap()).collect();
    let mut logits = Vec::with_capacity(n * classes);
    for &label in &labels {
        let row = (0..classes).map(|class| if class == usize::from(label) { skill } else { 0.0 });
        logits.extend(row.map(|mean| shape(mean + 2.0 * random.normal())));
    }
    Predictions::new(classes, logits, labels)
}

/// The same logits with other labels.
fn labelled(predict_split: &Predictions, label: impl Fn(usize) -> usize) -> Predictions {
    let logits = (0..predict_split.len()).flat_map(|at| predict_split.logits(at).to_vec()).collect();
    let labels = (0..predict_split.len()).map(|at| u8::try_from(label(at)).unwrap()).collect();
    Predictions::new(predict_split.classes(), logits, labels)
}

fn cases() -> Vec<Case> {
    let plain = |x| x;
    let coarse = f64::round;
    let saturated = |x: f64| 400.0 * x;
    let mut cases = Vec::new();
    let mut add = |predict_split: Predictions, second: Predictions, batch, bins| {
        let second = labelled(&second, |at| predict_split.label(at));
        let validation = drawn(99, (200, predict_split.classes()), 2.0, plain);
        cases.push(Case { predict_split, second, validation, batch, bins });
    };
    let pair = |size, skill, shape| (drawn(1, size, skill, shape), drawn(2, size, skill, shape));
    let (first, second) = pair((1000, 10), 4.0, plain);
    add(first.clone(), second, 100, 15);
    let (a, b) = pair((257, 3), 2.0, plain);
    add(a, b, 100, 7);
    let (a, b) = pair((50, 2), 2.0, plain);
    add(a, b, 7, 15);
    let (a, b) = pair((500, 100), 5.0, plain);
    add(a, b, 1000, 100);
    // Many logits and probabilities are equal.
    let (a, b) = pair((400, 6), 2.0, coarse);
    add(a, b, 64, 15);
    // Some probabilities are 0 and 1.
    let (a, b) = pair((300, 10), 4.0, saturated);
    add(a, b, 50, 15);
    // Two classes have no images, and one of them is predicted; all predictions are the same; all are
    // correct; all are incorrect.
    let few = labelled(&first, |at| first.label(at) % 8);
    add(few, first.clone(), 100, 15);
    add(Predictions::new(4, vec![0.0; 400], vec![1; 100]), drawn(3, (100, 4), 1.0, plain), 30, 15);
    let right = labelled(&first, |at| first.predicted(at));
    add(right.clone(), right, 100, 15);
    let wrong = labelled(&first, |at| (first.predicted(at) + 1) % 10);
    add(wrong, drawn(4, (1000, 10), 0.0, plain), 100, 15);
    add(drawn(5, (1, 10), 4.0, plain), drawn(6, (1, 10), 4.0, plain), 1, 1);
    // The validation images have no optimal temperature.
    let validation = labelled(&first, |at| first.predicted(at));
    cases.push(Case { predict_split: first.clone(), second: first, validation, batch: 1000, bins: 15 });
    cases
}

#[test]
fn every_metric_is_scikit_learns() {
    let cases = cases();
    let Some(expected) = reference(&cases) else { return };
    let mut compared = 0;
    for (at, (case, expected)) in cases.iter().zip(&expected).enumerate() {
        compared += check(&figures(case), expected, &format!("case {at}"));
    }
    assert!(compared > 10_000, "{compared} numbers");
    let without = expected.iter().filter(|it| it["temperature"][0].is_null()).count();
    assert_eq!(without, 1, "one case has no temperature");
}

/// The logits of a stored version on the images of its data set.
async fn predict_split(server: &TestServer, version: Version, split: Split) -> Predictions {
    let registry = Registry::open(server.store().to_str().unwrap()).await.unwrap();
    let manifest = registry.manifest(&ModelName::default(), version).await.unwrap();
    let weights = registry.weights(&manifest).await.unwrap();
    let predict_split = move || {
        support::one_torch_thread();
        let network = network(&manifest, &weights);
        let config = manifest.config.as_ref().unwrap();
        let catalog = Catalog::new(Vec::new(), FetchPolicy::Never);
        let images = catalog.load_split(&config.dataset, config.validation.size, split).unwrap();
        let set = DeviceSet::new(&images, tch::Device::Cpu);
        eval::predict_all(&network, &set, 1000, &mut |_| ControlFlow::Continue(())).unwrap()
    };
    tokio::task::spawn_blocking(predict_split).await.unwrap()
}

fn network(manifest: &Manifest, weights: &[u8]) -> Network {
    let expected = NetworkSpec {
        network: &manifest.network,
        input: Shape::grey(manifest.height, manifest.width),
        classes: manifest.classes,
        precision: manifest.precision,
    };
    checkpoint::decode_network(expected, weights, manifest.precision.kind(), tch::Device::Cpu).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_a_trained_network_through_the_api_is_scikit_learns() {
    let server = TestServer::start().await;
    // The version is in float64, so that no metric depends on the batch size.
    for seed in [0, 1] {
        let precision = Precision::Float64.into();
        let request = v1::TrainRequest { seed: Some(seed), precision, ..tiny() };
        collect(server.training().train(request).await.unwrap().into_inner()).await;
    }
    let second = v1::ModelRef { name: String::new(), which: Some(Which::Version(2)) };
    let request = v1::EvaluateRequest {
        model: Some(v1::ModelRef { which: Some(Which::Version(1)), ..second.clone() }),
        compare_to: Some(second),
        split: v1::Split::Train.into(),
        batch_size: Some(64),
        calibration_bins: Some(10),
        fit_temperature: true,
        ..v1::EvaluateRequest::default()
    };
    let response = server.analysis().evaluate(request).await.unwrap().into_inner();
    let [first, other] = [1, 2].map(|version| Version::try_from(version).unwrap());
    let case = Case {
        predict_split: predict_split(&server, first, Split::Train).await,
        second: predict_split(&server, other, Split::Train).await,
        validation: predict_split(&server, first, Split::Validation).await,
        batch: 64,
        bins: 10,
    };
    assert!(
        case.predict_split.len() == 300 && !case.predict_split.misclassified(1).is_empty(),
        "it makes mistakes"
    );
    let cases = [case];
    let expected = tokio::task::spawn_blocking(move || reference(&cases)).await.unwrap();
    let Some(expected) = expected else { return };
    let compared = check(&from_response(&response), &expected[0], "the response");
    assert!(compared > 200, "{compared} numbers");
}
