//! What an evaluation reports in addition to its metrics: misclassified images, a second version, progress, and the
//! errors of invalid requests.

use std::time::Instant;

use digitd::{
    data::image,
    pb::digitd::v1::{self, evaluate_event::Event, image::Form, model_ref::Which},
};
use prost::Message as _;
use tonic::Code;

use super::{
    server::{TestServer, collect, synthetic_set, tiny, unseen_images},
    status::{check, check_field, check_not_found, error},
};

fn version(number: i32) -> Option<v1::ModelRef> {
    Some(v1::ModelRef { name: String::new(), which: Some(Which::Version(number)) })
}

fn validation() -> v1::EvaluateRequest {
    v1::EvaluateRequest { split: v1::Split::Validation.into(), ..v1::EvaluateRequest::default() }
}

async fn evaluate(server: &TestServer, request: v1::EvaluateRequest) -> v1::EvaluateResponse {
    server.analysis().evaluate(request).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_misclassified_images_agree_with_predict() {
    let server = TestServer::start().await;
    server.train().await;
    let request =
        v1::EvaluateRequest { misclassified: Some(25), misclassified_png: true, ..Default::default() };
    let response = evaluate(&server, request).await;
    assert_eq!(response.misclassified.len(), 25);
    assert!(response.misclassified.is_sorted_by(|a, b| a.loss >= b.loss), "the worst first");
    let set = unseen_images(10_000);
    assert_eq!(response.dataset_digest, set.digest());
    for mistake in &response.misclassified {
        let index = usize::try_from(mistake.index()).unwrap();
        assert_eq!(mistake.label(), i32::from(set.label(index)));
        assert_eq!(image::decode(&mistake.png, image::Grayscale::Luma).unwrap().pixels, set.image(index));
        let pixels = bytes::Bytes::copy_from_slice(set.image(index));
        let image = v1::Image { form: Some(Form::Pixels(pixels)) };
        let request = v1::PredictRequest { images: vec![image], ..v1::PredictRequest::default() };
        let prediction =
            server.prediction().predict(request).await.unwrap().into_inner().predictions.remove(0);
        assert_eq!(prediction.label, mistake.predicted);
        assert_ne!(mistake.predicted, mistake.label);
        for (ours, theirs) in mistake.probabilities.iter().zip(&prediction.probabilities) {
            assert!((ours - f64::from(*theirs)).abs() < 1e-5);
        }
        let label = usize::try_from(mistake.label()).unwrap();
        assert!((mistake.loss() + mistake.probabilities[label].ln()).abs() < 1e-9);
    }
    let none = evaluate(&server, v1::EvaluateRequest { misclassified: Some(0), ..validation() }).await;
    assert!(none.misclassified.is_empty());
    let plain = evaluate(&server, validation()).await;
    assert!(plain.misclassified.len() <= 10 && plain.misclassified.iter().all(|it| it.png.is_empty()));
    assert!(plain.temperature.is_none() && plain.comparison.is_none() && plain.results.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_data_set_is_split_as_the_version_s_run_split_it() {
    let server = TestServer::start().await;
    let dataset = Some(v1::Dataset { seed: Some(5), ..synthetic_set() });
    let events = server.training().train(v1::TrainRequest { dataset, ..tiny() }).await.unwrap();
    collect(events.into_inner()).await;
    let named = |seed| {
        let dataset = v1::Dataset { name: "synthetic".to_owned(), seed, max_train_images: None };
        v1::EvaluateRequest { dataset: Some(dataset), ..validation() }
    };
    let own = evaluate(&server, validation()).await;
    assert_eq!(evaluate(&server, named(None)).await.dataset_digest, own.dataset_digest);
    assert_ne!(evaluate(&server, named(Some(6))).await.dataset_digest, own.dataset_digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_versions_on_the_same_images_are_distinguished() {
    let server = TestServer::start().await;
    server.train_seeded(0).await;
    server.train_seeded(1).await;
    let request =
        v1::EvaluateRequest { model: version(2), compare_to: version(1), ..v1::EvaluateRequest::default() };
    let response = evaluate(&server, request).await;
    let comparison = response.comparison.as_ref().unwrap();
    let other = comparison.other.as_ref().unwrap();
    assert_eq!((response.version, other.version, &other.dataset_digest), (2, 1, &response.dataset_digest));
    let alone = |number| v1::EvaluateRequest { model: version(number), ..v1::EvaluateRequest::default() };
    let first = evaluate(&server, alone(2)).await;
    let second = evaluate(&server, alone(1)).await;
    assert_eq!((&first.confusion_matrix, first.loss), (&response.confusion_matrix, response.loss));
    assert_eq!((&second.classes, second.loss), (&other.classes, other.loss));
    assert!(other.misclassified.is_empty() && other.comparison.is_none());
    let [both, one, two, none] =
        [comparison.both_right, comparison.only_first, comparison.only_second, comparison.both_wrong]
            .map(Option::unwrap);
    assert_eq!(
        (both + one, both + two, both + one + two + none),
        (first.correct(), second.correct(), 10_000)
    );
    assert!(one > 0 && two > 0, "they differ");
    let changed = comparison.changed_count();
    assert_eq!(comparison.agreement, Some(f64::from(10_000 - changed) / 10_000.0));
    assert_eq!(comparison.changed.len(), 100);
    assert!(comparison.changed.iter().all(|it| it.first != it.second));
    assert!(comparison.changed.is_sorted_by(|a, b| a.index < b.index));

    let itself = v1::EvaluateRequest { compare_to: version(2), ..validation() };
    let itself = *evaluate(&server, itself).await.comparison.unwrap();
    let test = itself.mcnemar.unwrap();
    assert_eq!((itself.agreement, itself.changed_count, test.p_value), (Some(1.0), Some(0), Some(1.0)));
    assert_eq!((test.statistic, test.chi_squared_p_value), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_temperature_is_fitted_on_validation_images_whatever_is_measured() {
    let server = TestServer::start().await;
    server.train().await;
    let of = async |split: v1::Split| {
        let request =
            v1::EvaluateRequest { split: split.into(), fit_temperature: true, ..Default::default() };
        evaluate(&server, request).await
    };
    let (test, own) = (of(v1::Split::Test).await, of(v1::Split::Validation).await);
    let (fitted, on_itself) = (test.temperature.unwrap(), own.temperature.unwrap());
    assert_eq!((fitted.fitted_on(), fitted.fitted_images), (v1::Split::Validation, 100));
    assert_eq!(fitted.fitted_digest, own.dataset_digest);
    assert_eq!(fitted.temperature, on_itself.temperature);
    assert!(fitted.temperature.is_some() && fitted.loss.is_some());
    assert!(on_itself.loss < own.loss, "best where it was fitted");
    assert_ne!(fitted.loss, on_itself.loss);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_validation_images_there_is_nothing_to_fit_a_temperature_on() {
    let server = TestServer::start().await;
    let none = v1::Validation { size: Some(v1::validation::Size::Count(0)), every_epochs: None };
    let request = v1::TrainRequest { validation: Some(none), ..tiny() };
    collect(server.training().train(request).await.unwrap().into_inner()).await;
    let request = v1::EvaluateRequest { fit_temperature: true, ..v1::EvaluateRequest::default() };
    check_field(&error(server.analysis().evaluate(request).await), "fit_temperature");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_reports_progress_in_order_and_ends_with_the_response() {
    let server = TestServer::start().await;
    server.train().await;
    let request = v1::EvaluateRequest { batch_size: Some(100), misclassified: Some(3), ..Default::default() };
    let mut events = server.analysis().evaluate_stream(request.clone()).await.unwrap().into_inner();
    let mut counts = Vec::new();
    let mut response = None;
    while let Some(event) = events.message().await.unwrap() {
        assert!(response.is_none(), "nothing follows the response");
        match event.event.unwrap() {
            Event::Progress(progress) => {
                assert_eq!(progress.total, 10_000);
                counts.push(progress.images());
            }
            Event::Finished(finished) => response = Some(finished),
        }
    }
    assert!(counts.len() > 1 && counts.is_sorted_by(|a, b| a < b), "{counts:?}");
    assert_eq!(counts.last(), Some(&10_000));
    let mut response = response.unwrap();
    let mut unary = evaluate(&server, request).await;
    (response.seconds, unary.seconds) = (None, None);
    assert_eq!(response, unary);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_error_of_what_cannot_be_measured() {
    let server = TestServer::start().await;
    let request = v1::EvaluateRequest::default();
    let mut events = server.analysis().evaluate_stream(request).await.unwrap().into_inner();
    check(&events.message().await.unwrap_err(), Code::NotFound, "MODEL_NOT_FOUND");
    let request = v1::EvaluateRequest { misclassified: Some(101), ..v1::EvaluateRequest::default() };
    check_field(&error(server.analysis().evaluate_stream(request).await), "misclassified");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_leaves_a_stream_frees_the_analysis_for_the_next() {
    let server = TestServer::start().await;
    server.train().await;
    let request = v1::EvaluateRequest { batch_size: Some(1), ..v1::EvaluateRequest::default() };
    let whole = evaluate(&server, request.clone()).await.seconds.unwrap();
    let began = Instant::now();
    for _ in 0..12 {
        let mut events = server.analysis().evaluate_stream(request.clone()).await.unwrap().into_inner();
        events.message().await.unwrap().unwrap();
        drop(events);
    }
    // The evaluations run one after the other on one thread: to completion they would take twelve times as
    // long.
    let all = began.elapsed().as_secs_f64();
    assert!(all < 6.0 * whole, "{all} s for twelve that were left, {whole} s for one");
    assert_eq!(evaluate(&server, validation()).await.total, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_incompatible_second_version_is_rejected() {
    let server = TestServer::start().await;
    server.train().await;
    let missing = v1::EvaluateRequest { compare_to: version(9), ..v1::EvaluateRequest::default() };
    check_not_found(&error(server.analysis().evaluate(missing).await), "VERSION_NOT_FOUND", "digits/9");
    let other = Some(v1::ModelRef { name: "a/b".to_owned(), which: None });
    let wrong = v1::EvaluateRequest { compare_to: other, ..v1::EvaluateRequest::default() };
    check_field(&error(server.analysis().evaluate(wrong).await), "compare_to.name");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_can_be_requested_fits_into_a_message() {
    let server = TestServer::start().await;
    server.train_seeded(0).await;
    server.train_seeded(1).await;
    let request = v1::EvaluateRequest {
        compare_to: version(1),
        misclassified: Some(100),
        misclassified_png: true,
        calibration_bins: Some(100),
        fit_temperature: true,
        ..v1::EvaluateRequest::default()
    };
    let response = evaluate(&server, request).await;
    assert_eq!((response.misclassified.len(), response.calibration.as_ref().unwrap().bins.len()), (100, 100));
    // gRPC's default limit is 4 MiB; with 100 classes the tables are ten times as wide.
    assert!(response.encoded_len() < 200_000, "{} bytes", response.encoded_len());
}
