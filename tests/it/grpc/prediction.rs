//! Predict and PredictStream: order, forms of images, versions and rejections.

use bytes::Bytes;
use digitd::{
    data::image,
    nn::Precision,
    pb::digitd::v1::{self, image::Form, predict_stream_response::Result as Outcome},
};
use futures::stream;

use super::{
    server::{TestServer, unseen_images},
    status::{check_field, check_not_found, error},
};

fn pixels(bytes: &[u8]) -> v1::Image {
    v1::Image { form: Some(Form::Pixels(Bytes::copy_from_slice(bytes))) }
}

fn of(images: Vec<v1::Image>) -> v1::PredictRequest {
    v1::PredictRequest { images, ..v1::PredictRequest::default() }
}

fn first_images(count: usize) -> Vec<v1::Image> {
    let set = unseen_images(count);
    (0..count).map(|index| pixels(set.image(index))).collect()
}

async fn predict(server: &TestServer, request: v1::PredictRequest) -> v1::PredictResponse {
    server.prediction().predict(request).await.unwrap().into_inner()
}

/// Checks that digits are equal, and probabilities up to the order of a sum.
fn check_same(left: &[v1::Prediction], right: &[v1::Prediction]) {
    assert_eq!(left.len(), right.len());
    for (left, right) in left.iter().zip(right) {
        assert_eq!(left.label, right.label);
        for (left, right) in left.probabilities.iter().zip(&right.probabilities) {
            assert!((left - right).abs() < 1e-5, "{left} and {right}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_set_to_multiply_in_bfloat16_predicts_nearly_the_same() {
    let server = TestServer::start().await;
    server.train().await;
    let exact = predict(&server, of(first_images(64))).await.predictions;
    let store = server.stop().await;
    let server = TestServer::serving(store, |serving| serving.precision = Precision::Bfloat16).await;
    let rounded = predict(&server, of(first_images(64))).await.predictions;
    let probabilities = |predictions: &[v1::Prediction]| -> Vec<f32> {
        predictions.iter().flat_map(|prediction| prediction.probabilities.clone()).collect()
    };
    let (exact, rounded) = (probabilities(&exact), probabilities(&rounded));
    assert!(exact.iter().zip(&rounded).all(|(exact, rounded)| (exact - rounded).abs() < 0.02));
    // If the processor has no units for bfloat16, the predictions are those of float32.
    #[cfg(target_arch = "x86_64")]
    assert_eq!(exact != rounded, is_x86_feature_detected!("avx512bf16"));
}

#[tokio::test(flavor = "multi_thread")]
async fn predictions_of_a_batch_are_in_the_order_of_its_images() {
    let server = TestServer::start().await;
    server.train().await;
    let images = first_images(20);
    let together = predict(&server, of(images.clone())).await;
    assert_eq!((together.name.as_str(), together.version), ("digits", 1));
    let mut alone = Vec::new();
    for image in images {
        alone.extend(predict(&server, of(vec![image])).await.predictions);
    }
    check_same(&together.predictions, &alone);
    for prediction in &together.predictions {
        let sum: f32 = prediction.probabilities.iter().sum();
        assert!((sum - 1.0).abs() < 1e-4 && prediction.probabilities.len() == 10);
        let label = usize::try_from(prediction.label.unwrap()).unwrap();
        assert_eq!(prediction.probability, Some(prediction.probabilities[label]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_an_image_decodes_alike() {
    let server = TestServer::start().await;
    server.train().await;
    let set = unseen_images(150);
    let packed = v1::PredictRequest {
        pixel_batch: Bytes::copy_from_slice(set.pixels()),
        ..v1::PredictRequest::default()
    };
    let packed = predict(&server, packed).await.predictions;
    check_same(&packed, &predict(&server, of(first_images(150))).await.predictions);
    let floats = |index| {
        let values = set.image(index).iter().map(|&byte| f32::from(byte) / 255.0).collect();
        v1::Image { form: Some(Form::Floats(v1::FloatPixels { values })) }
    };
    check_same(&packed, &predict(&server, of((0..150).map(floats).collect())).await.predictions);
    let png = |index| {
        let bytes = image::to_png(set.image(index), 28, 28);
        v1::Image { form: Some(Form::Encoded(bytes.into())) }
    };
    let mut request = of((0..150).map(png).collect());
    request.set_normalization(v1::Normalization::None);
    check_same(&packed, &predict(&server, request).await.predictions);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_precede_the_pixel_batch() {
    let server = TestServer::start().await;
    server.train().await;
    let set = unseen_images(3);
    let request = v1::PredictRequest {
        images: vec![pixels(set.image(0))],
        pixel_batch: Bytes::copy_from_slice(set.slice(1..3).pixels()),
        ..v1::PredictRequest::default()
    };
    let expected = predict(&server, of(first_images(3))).await.predictions;
    check_same(&predict(&server, request).await.predictions, &expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_most_probable_digits_are_listed_on_request() {
    let server = TestServer::start().await;
    server.train().await;
    let request = v1::PredictRequest { top_k: Some(3), ..of(first_images(1)) };
    let message = predict(&server, request).await;
    let prediction = &message.predictions[0];
    assert_eq!(prediction.top.len(), 3);
    assert_eq!(prediction.top[0].label, prediction.label);
    assert!(prediction.top.is_sorted_by(|a, b| a.probability >= b.probability));
    assert_eq!(predict(&server, of(first_images(1))).await.predictions[0].top, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_selects_the_version_that_predicts() {
    use v1::model_ref::Which;
    let server = TestServer::start().await;
    server.train().await;
    server.train().await;
    let responses = async |which: Option<Which>| {
        let model = Some(v1::ModelRef { name: String::new(), which });
        predict(&server, v1::PredictRequest { model, ..of(first_images(1)) }).await.version
    };
    assert_eq!(responses(None).await, 2, "no alias production: the newest");
    assert_eq!(responses(Some(Which::Version(1))).await, 1);
    assert_eq!(responses(Some(Which::Alias("latest".to_owned()))).await, 2);
    let set =
        v1::SetAliasRequest { alias: "production".to_owned(), version: 1, ..v1::SetAliasRequest::default() };
    server.registry().set_alias(set).await.unwrap();
    assert_eq!(responses(None).await, 1);
    assert_eq!(responses(Some(Which::Alias("production".to_owned()))).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_version_cannot_predict() {
    use v1::model_ref::Which;
    let server = TestServer::start().await;
    let mut prediction = server.prediction();
    let nothing = error(prediction.predict(of(first_images(1))).await);
    check_not_found(&nothing, "MODEL_NOT_FOUND", "digits");
    server.train().await;
    let mut of_model = async |which| {
        let model = Some(v1::ModelRef { name: String::new(), which: Some(which) });
        error(prediction.predict(v1::PredictRequest { model, ..of(first_images(1)) }).await)
    };
    check_not_found(&of_model(Which::Version(9)).await, "VERSION_NOT_FOUND", "digits/9");
    check_not_found(&of_model(Which::Alias("beta".to_owned())).await, "ALIAS_NOT_FOUND", "digits/beta");
    check_field(&of_model(Which::Version(0)).await, "model.version");
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_images_are_named() {
    let server = TestServer::start().await;
    server.train().await;
    let mut prediction = server.prediction();
    let mut field = async |request, field| check_field(&error(prediction.predict(request).await), field);
    field(v1::PredictRequest::default(), "images").await;
    field(of(vec![v1::Image { form: None }]), "images[0]").await;
    field(of(vec![pixels(&[0; 783])]), "images[0].pixels").await;
    let no_picture = v1::Image { form: Some(Form::Encoded(Bytes::from_static(b"GIF89a, but not really"))) };
    let mut images = first_images(3);
    images.push(no_picture);
    field(of(images), "images[3].encoded").await;
    let mut values = vec![0.5; 784];
    values[783] = f32::NAN;
    let nan = v1::Image { form: Some(Form::Floats(v1::FloatPixels { values })) };
    field(of(vec![nan]), "images[0].floats.values[783]").await;
    let pixel_batch = Bytes::from(vec![0; 785]);
    field(v1::PredictRequest { pixel_batch, ..v1::PredictRequest::default() }, "pixel_batch").await;
    let pixel_batch = Bytes::from(vec![0; 784 * 16_385]);
    field(v1::PredictRequest { pixel_batch, ..v1::PredictRequest::default() }, "images").await;
    field(v1::PredictRequest { top_k: Some(101), ..of(first_images(1)) }, "top_k").await;
    field(v1::PredictRequest { normalization: 7, ..of(first_images(1)) }, "normalization").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_responds_in_order_and_an_error_ends_its_request_alone() {
    let server = TestServer::start().await;
    server.train().await;
    let images = first_images(30);
    let question = |index: usize| {
        let request = match index % 5 {
            4 => of(vec![pixels(&[0; 3])]),
            _ => of(vec![images[index].clone()]),
        };
        v1::PredictStreamRequest { request_id: format!("q{index}"), request: Some(request) }
    };
    let questions: Vec<_> = (0..30).map(question).collect();
    let responses = server.prediction().predict_stream(stream::iter(questions)).await.unwrap().into_inner();
    let responses: Vec<_> = futures::TryStreamExt::try_collect(responses).await.unwrap();
    let expected = predict(&server, of(images.clone())).await.predictions;
    assert_eq!(responses.len(), 30);
    for (index, message) in responses.into_iter().enumerate() {
        let message: v1::PredictStreamResponse = message;
        assert_eq!(message.request_id, format!("q{index}"));
        match message.result.unwrap() {
            Outcome::Response(response) => check_same(&response.predictions, &expected[index..=index]),
            Outcome::Error(rejected) => {
                assert_eq!((index % 5, rejected.code, &*rejected.reason), (4, 3, "INVALID_FIELD"));
                assert!(rejected.message.starts_with("images[0].pixels"), "{rejected:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_models_predict_in_one_stream() {
    let server = TestServer::start().await;
    let named = |name: &str| v1::ModelRef { name: name.to_owned(), which: None };
    for name in ["digits", "others"] {
        let request = v1::TrainRequest { model: name.to_owned(), ..super::server::tiny() };
        let events = server.training().train(request).await.unwrap().into_inner();
        super::server::collect(events).await;
    }
    let names: Vec<&str> = ["digits", "others", "nobody"].into_iter().cycle().take(12).collect();
    let question = |name: &&str| {
        let request = v1::PredictRequest { model: Some(named(name)), ..of(first_images(2)) };
        v1::PredictStreamRequest { request_id: (*name).to_owned(), request: Some(request) }
    };
    let questions: Vec<_> = names.iter().map(question).collect();
    let responses = server.prediction().predict_stream(stream::iter(questions)).await.unwrap().into_inner();
    let responses: Vec<v1::PredictStreamResponse> =
        futures::TryStreamExt::try_collect(responses).await.unwrap();
    assert_eq!(responses.len(), 12);
    for (message, name) in responses.into_iter().zip(names) {
        assert_eq!(message.request_id, name);
        match message.result.unwrap() {
            Outcome::Response(response) => assert_eq!((&*response.name, response.version), (name, 1)),
            Outcome::Error(rejected) => assert_eq!((name, &*rejected.reason), ("nobody", "MODEL_NOT_FOUND")),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn predictions_are_served_while_a_run_trains() {
    let server = TestServer::start().await;
    server.train().await;
    let mut run = server.training().train(super::server::endless()).await.unwrap().into_inner();
    let received = super::server::until(&mut run, |_| true).await;
    for _ in 0..20 {
        assert_eq!(predict(&server, of(first_images(8))).await.predictions.len(), 8);
    }
    let run_id = super::server::run_id(&received);
    server.training().cancel_run(v1::CancelRunRequest { run_id }).await.unwrap();
    super::server::collect(run).await;
}
