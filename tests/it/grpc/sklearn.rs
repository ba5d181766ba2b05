//! Every figure of an evaluation against scikit-learn and SciPy: on drawn and on degenerate answers, and
//! over the wire on those of a trained network.

use std::{ops::ControlFlow, process::Command};

use digitd::{
    checkpoint::{self, Expected},
    data::{Catalog, DeviceSet, FetchPolicy, Random, Split, Stream},
    eval,
    ids::{ModelName, Version},
    metric::{Answers, Contest, Means, Measures, calibration, temperature},
    nn::{Network, Shape},
    pb::digitd::v1::{self, Precision, model_ref::Which},
    registry::{Manifest, Registry},
};
use serde_json::{Value, json};

use super::server::{TestServer, collect, tiny};
use crate::{cli::program::feed, support};

const REFERENCE: &str = include_str!("sklearn.py");

/// What is asked of the reference.
struct Case {
    answers: Answers,
    second: Answers,
    validation: Answers,
    batch: usize,
    bins: usize,
}

/// What the reference makes of the cases. None where it is not to be had.
fn reference(cases: &[Case]) -> Option<Vec<Value>> {
    let python = support::python("sklearn", "sklearn")?;
    let rows =
        |answers: &Answers| (0..answers.len()).map(|at| answers.logits(at).to_vec()).collect::<Vec<_>>();
    let labels = |answers: &Answers| (0..answers.len()).map(|at| answers.label(at)).collect::<Vec<_>>();
    let asked = cases.iter().map(|case| {
        json!({
            "classes": case.answers.classes(),
            "logits": rows(&case.answers),
            "labels": labels(&case.answers),
            "second": rows(&case.second),
            "validation": rows(&case.validation),
            "validation_labels": labels(&case.validation),
            "batch": case.batch,
            "bins": case.bins,
        })
    });
    let asked = Value::Array(asked.collect()).to_string();
    let said = feed(Command::new(python).args(["-W", "error", "-c", REFERENCE]), asked.as_bytes());
    Some(serde_json::from_str(&said.ok()).unwrap())
}

/// The same figures as digitd has them.
fn figures(case: &Case) -> Value {
    let measures = Measures::of(&case.answers, case.batch, case.bins);
    let (contest, best) = (Contest::of(&case.answers, &case.second, 100), temperature(&case.validation));
    let test = contest.mcnemar();
    let after = best.map(|best| {
        let tempered = case.answers.tempered(best);
        json!([tempered.mean_loss(), calibration(&tempered, case.bins).unwrap().error])
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
    let rows: Vec<&[u32]> = (0..case.answers.classes()).map(|label| measures.confusion.row(label)).collect();
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
        "worst": case.answers.worst(10),
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

/// The same figures as an answer over the wire has them.
fn told(answer: &v1::EvaluateResponse) -> Value {
    let means = |it: &Option<v1::AveragedReport>| {
        let it = it.as_ref().unwrap();
        json!([it.precision, it.recall, it.f1, it.roc_auc, it.average_precision])
    };
    let classes = answer
        .classes
        .iter()
        .map(|it| json!([it.precision, it.recall, it.f1, it.support, it.roc_auc, it.average_precision]));
    let reliability = answer.calibration.as_ref().unwrap();
    let bins = reliability.bins.iter().map(|bin| json!([bin.count, bin.confidence, bin.accuracy]));
    let rows = answer.confusion_matrix.as_ref().unwrap().rows.iter();
    let comparison = answer.comparison.as_ref().unwrap();
    let (test, fitted) = (comparison.mcnemar.unwrap(), answer.temperature.as_ref().unwrap());
    let counts =
        [comparison.both_right, comparison.only_first, comparison.only_second, comparison.both_wrong];
    json!({
        "loss": answer.loss,
        "accuracy": answer.accuracy,
        "batch_means": [answer.batch_mean_loss, answer.batch_mean_accuracy],
        "interval": [answer.accuracy_low, answer.accuracy_high],
        "top": answer.top_accuracies.iter().map(|top| top.accuracy).collect::<Vec<_>>(),
        "classes": classes.collect::<Vec<_>>(),
        "averages": {"macro": means(&answer.macro_average), "weighted": means(&answer.weighted_average)},
        "confusion": rows.map(|row| row.counts.clone()).collect::<Vec<_>>(),
        "calibration": {
            "error": reliability.expected_calibration_error,
            "bins": bins.collect::<Vec<_>>(),
        },
        "worst": answer.mistakes.iter().map(|it| it.index).collect::<Vec<_>>(),
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

/// Checks that two values are alike to 1e-9, of large numbers relatively; returns how many numbers they hold.
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

/// Labels and logits that are `skill` higher at the label, each drawn and then changed by `shape`.
fn drawn(seed: u64, (n, classes): (usize, usize), skill: f64, shape: fn(f64) -> f64) -> Answers {
    let mut random = Random::new(seed, Stream::Init, 0, 0);
    let labels: Vec<u8> = (0..n).map(|_| u8::try_from(random.below(classes)).unwrap()).collect();
    let mut logits = Vec::with_capacity(n * classes);
    for &label in &labels {
        let row = (0..classes).map(|class| if class == usize::from(label) { skill } else { 0.0 });
        logits.extend(row.map(|mean| shape(mean + 2.0 * random.normal())));
    }
    Answers::new(classes, logits, labels)
}

/// The same logits with labels of one's own.
fn labelled(answers: &Answers, label: impl Fn(usize) -> usize) -> Answers {
    let logits = (0..answers.len()).flat_map(|at| answers.logits(at).to_vec()).collect();
    let labels = (0..answers.len()).map(|at| u8::try_from(label(at)).unwrap()).collect();
    Answers::new(answers.classes(), logits, labels)
}

fn cases() -> Vec<Case> {
    let plain = |x| x;
    let coarse = f64::round;
    let saturated = |x: f64| 400.0 * x;
    let mut cases = Vec::new();
    let mut add = |answers: Answers, second: Answers, batch, bins| {
        let second = labelled(&second, |at| answers.label(at));
        let validation = drawn(99, (200, answers.classes()), 2.0, plain);
        cases.push(Case { answers, second, validation, batch, bins });
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
    // Many equal logits, and equal probabilities.
    let (a, b) = pair((400, 6), 2.0, coarse);
    add(a, b, 64, 15);
    // Probabilities that are 0 and 1.
    let (a, b) = pair((300, 10), 4.0, saturated);
    add(a, b, 50, 15);
    // Two classes without images, one of which is answered; all answers the same; all right; all wrong.
    let few = labelled(&first, |at| first.label(at) % 8);
    add(few, first.clone(), 100, 15);
    add(Answers::new(4, vec![0.0; 400], vec![1; 100]), drawn(3, (100, 4), 1.0, plain), 30, 15);
    let right = labelled(&first, |at| first.answer(at));
    add(right.clone(), right, 100, 15);
    let wrong = labelled(&first, |at| (first.answer(at) + 1) % 10);
    add(wrong, drawn(4, (1000, 10), 0.0, plain), 100, 15);
    add(drawn(5, (1, 10), 4.0, plain), drawn(6, (1, 10), 4.0, plain), 1, 1);
    // Validation images without a best temperature.
    let validation = labelled(&first, |at| first.answer(at));
    cases.push(Case { answers: first.clone(), second: first, validation, batch: 1000, bins: 15 });
    cases
}

#[test]
fn every_figure_is_scikit_learns() {
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

/// The logits of a stored version on the images of its own data set.
async fn answers(server: &TestServer, version: Version, split: Split) -> Answers {
    let registry = Registry::open(server.store().to_str().unwrap()).await.unwrap();
    let manifest = registry.manifest(&ModelName::default(), version).await.unwrap();
    let weights = registry.weights(&manifest).await.unwrap();
    let answers = move || {
        support::one_torch_thread();
        let network = network(&manifest, &weights);
        let config = manifest.config.as_ref().unwrap();
        let catalog = Catalog::new(Vec::new(), FetchPolicy::Never);
        let images = catalog.load_split(&config.dataset, config.validation.size, split).unwrap();
        let set = DeviceSet::new(&images, tch::Device::Cpu);
        eval::answers(&network, &set, 1000, &mut |_| ControlFlow::Continue(())).unwrap()
    };
    tokio::task::spawn_blocking(answers).await.unwrap()
}

fn network(manifest: &Manifest, weights: &[u8]) -> Network {
    let expected = Expected {
        network: &manifest.network,
        input: Shape::grey(manifest.height, manifest.width),
        classes: manifest.classes,
        precision: manifest.precision,
    };
    checkpoint::decode_network(expected, weights, manifest.precision.kind(), tch::Device::Cpu).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_figure_of_a_trained_network_over_the_wire_is_scikit_learns() {
    let server = TestServer::start().await;
    // Float64, so that no figure hangs on how a batch is cut.
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
    let answer = server.analysis().evaluate(request).await.unwrap().into_inner();
    let [first, other] = [1, 2].map(|version| Version::try_from(version).unwrap());
    let case = Case {
        answers: answers(&server, first, Split::Train).await,
        second: answers(&server, other, Split::Train).await,
        validation: answers(&server, first, Split::Validation).await,
        batch: 64,
        bins: 10,
    };
    assert!(case.answers.len() == 300 && !case.answers.worst(1).is_empty(), "it makes mistakes");
    let cases = [case];
    let expected = tokio::task::spawn_blocking(move || reference(&cases)).await.unwrap();
    let Some(expected) = expected else { return };
    let compared = check(&told(&answer), &expected[0], "the answer");
    assert!(compared > 200, "{compared} numbers");
}
