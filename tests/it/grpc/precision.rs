//! Runs in float32, float64 and bfloat16, and their versions.

use digitd::pb::digitd::v1::{self, Precision, train_event::Event};

use super::{
    server::{TestServer, collect, finished, synthetic_set, tiny, unseen_images},
    status::{check_field, error},
    transfer::{export, import},
};

/// Returns the loss of every batch, and the version.
async fn train(server: &TestServer, precision: Precision) -> (Vec<f64>, v1::ModelVersion, Vec<u8>) {
    let request = v1::TrainRequest { precision: precision.into(), ..tiny() };
    let events = collect(server.training().train(request).await.unwrap().into_inner()).await;
    let losses = events.iter().filter_map(|event| match event.event.as_ref()? {
        Event::Batch(batch) => batch.loss,
        _ => None,
    });
    let (version, weights) = export(server, finished(&events).version.unwrap()).await;
    assert_eq!(version.precision(), precision);
    assert_eq!(version.request.as_ref().unwrap().precision(), precision, "shown as resolved");
    (losses.collect(), version, weights)
}

fn dtypes(weights: &[u8]) -> Vec<safetensors::Dtype> {
    let file = safetensors::SafeTensors::deserialize(weights).unwrap();
    file.tensors().iter().map(|(_, array)| array.dtype()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_computes_in_the_requested_precision() {
    let server = TestServer::start().await;
    let (single, _, weights) = train(&server, Precision::Float32).await;
    assert_eq!(dtypes(&weights), [safetensors::Dtype::F32; 6]);
    let (double, _, weights) = train(&server, Precision::Float64).await;
    assert_eq!(dtypes(&weights), [safetensors::Dtype::F64; 6]);
    let (bfloat16, _, weights) = train(&server, Precision::Bfloat16).await;
    assert_eq!(dtypes(&weights), [safetensors::Dtype::F32; 6]);
    // The initial weights and images are the same; only rounding differs, with 24, 53 and 8 bits.
    let off = |losses: &[f64]| (losses[0] - double[0]).abs();
    assert!(off(&single) > 1e-12 && off(&single) < 1e-5, "{} and {}", single[0], double[0]);
    assert!(off(&bfloat16) > 1e-5 && off(&bfloat16) < 0.05, "{} and {}", bfloat16[0], double[0]);
    assert!(f64::from(single[0] as f32) == single[0] && f64::from(double[0] as f32) != double[0]);
    assert!(bfloat16[11] < 0.8 * bfloat16[0], "{bfloat16:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_in_float64_is_evaluated_inspected_served_and_trained_on() {
    let server = TestServer::start().await;
    let (_, version, _) = train(&server, Precision::Float64).await;
    let request = v1::EvaluateRequest { split: v1::Split::Validation.into(), ..Default::default() };
    let measured = server.analysis().evaluate(request).await.unwrap().into_inner();
    // The same network was validated; only the order of sums differs.
    let (measured, validated) = (measured.loss.unwrap(), version.validation_loss.unwrap());
    assert!((measured - validated).abs() < 1e-14 * validated, "{measured} and {validated}");
    let request = v1::InspectRequest { contents: true, ..v1::InspectRequest::default() };
    let inspected = server.analysis().inspect(request).await.unwrap().into_inner();
    assert_eq!(inspected.layers.len(), 8);
    let pixel_batch = bytes::Bytes::copy_from_slice(unseen_images(3).pixels());
    let request = v1::PredictRequest { pixel_batch, ..v1::PredictRequest::default() };
    let response = server.prediction().predict(request).await.unwrap().into_inner();
    assert_eq!((response.predictions.len(), response.version), (3, 1));

    let initial = Some(v1::ModelRef::default());
    let request = v1::TrainRequest { initial, dataset: Some(synthetic_set()), ..tiny() };
    let events = collect(server.training().train(request).await.unwrap().into_inner()).await;
    let (version, weights) = export(&server, finished(&events).version.unwrap()).await;
    assert_eq!(
        (version.precision(), dtypes(&weights)),
        (Precision::Float32, vec![safetensors::Dtype::F32; 6])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_version_has_the_precision_of_its_file_which_is_one() {
    let server = TestServer::start().await;
    let (_, trained, double) = train(&server, Precision::Float64).await;
    let imported = import(&server, v1::ImportMetadata::default(), &double).await.unwrap().into_inner();
    let imported = imported.version.unwrap();
    assert_eq!(
        (imported.precision(), &imported.weights_sha256),
        (Precision::Float64, &trained.weights_sha256)
    );

    let file = safetensors::SafeTensors::deserialize(&double).unwrap();
    let single = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![10], &[0; 40]).unwrap();
    let mixed = file.tensors().into_iter().map(|(name, array)| match name.as_str() {
        "fc.bias" => (name, single.clone()),
        _ => (name, array),
    });
    let mixed = safetensors::serialize(mixed, None).unwrap();
    let rejected = error(import(&server, v1::ImportMetadata::default(), &mixed).await);
    check_field(&rejected, "chunk");
    assert!(rejected.message().contains("\"fc.bias\" as F32 and others otherwise"), "{rejected}");
}
