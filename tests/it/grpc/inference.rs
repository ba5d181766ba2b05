//! The Open Inference Protocol beside the contract: the same predictions, the same errors, common statistics.
//! `triton` tests Triton's client.

use bytes::Bytes;
use digitd::pb::{
    digitd::v1,
    inference::{
        InferParameter, ModelConfigRequest, ModelInferRequest, ModelInferResponse, ModelMetadataRequest,
        ModelReadyRequest, ModelStatistics, ModelStatisticsRequest, RepositoryIndexRequest,
        grpc_inference_service_client::GrpcInferenceServiceClient,
        infer_parameter::ParameterChoice,
        model_infer_request::{InferInputTensor, InferRequestedOutputTensor},
    },
};
use tonic::{Code, transport::Channel};

use super::{
    datasets::{bars, trained_on_names},
    server::{TestServer, unseen_images},
    status::{check, check_field, check_not_found, error},
};

fn client(server: &TestServer) -> GrpcInferenceServiceClient<Channel> {
    GrpcInferenceServiceClient::new(server.channel())
        .max_decoding_message_size(64 << 20)
        .max_encoding_message_size(64 << 20)
}

/// Raw values with this shape.
fn raw(datatype: &str, shape: &[i64], values: impl Into<Bytes>) -> ModelInferRequest {
    let input = InferInputTensor {
        name: "input".to_owned(),
        datatype: datatype.to_owned(),
        shape: shape.to_vec(),
        ..InferInputTensor::default()
    };
    ModelInferRequest {
        inputs: vec![input],
        raw_input_contents: vec![values.into()],
        ..ModelInferRequest::default()
    }
}

fn infer_request(count: usize) -> ModelInferRequest {
    let pixels = unseen_images(count).pixels().to_vec();
    raw("UINT8", &[count as i64, 28, 28], pixels)
}

/// The same as numbers from 0 to 1.
fn numbers(count: usize) -> ModelInferRequest {
    let ink = unseen_images(count).pixels().iter().map(|&byte| f32::from(byte) / 255.0).collect::<Vec<_>>();
    let bytes: Vec<u8> = ink.into_iter().flat_map(f32::to_le_bytes).collect();
    raw("FP32", &[count as i64, 1, 28, 28], bytes)
}

fn number(value: i64) -> InferParameter {
    InferParameter { parameter_choice: Some(ParameterChoice::Int64Param(value)) }
}

fn classification(count: i64) -> Vec<InferRequestedOutputTensor> {
    let parameters = [("classification".to_owned(), number(count))].into();
    vec![InferRequestedOutputTensor { name: "probabilities".to_owned(), parameters }]
}

async fn infer(server: &TestServer, request: ModelInferRequest) -> ModelInferResponse {
    client(server).model_infer(request).await.unwrap().into_inner()
}

fn floats(raw: &[u8]) -> Vec<f32> {
    raw.as_chunks().0.iter().copied().map(f32::from_le_bytes).collect()
}

fn check_close(left: &[f32], right: &[f32]) {
    assert_eq!(left.len(), right.len());
    for (left, right) in left.iter().zip(right) {
        assert!((left - right).abs() < 1e-5, "{left} and {right}");
    }
}

async fn statistics(server: &TestServer, name: &str, version: &str) -> Vec<ModelStatistics> {
    let request = ModelStatisticsRequest { name: name.to_owned(), version: version.to_owned() };
    client(server).model_statistics(request).await.unwrap().into_inner().model_stats
}

#[tokio::test(flavor = "multi_thread")]
async fn both_protocols_predict_alike() {
    let server = TestServer::start().await;
    server.train().await;
    // More images than are decoded on the calling thread, and more than a batch holds.
    let count = 150;
    let pixel_batch = Bytes::copy_from_slice(unseen_images(count).pixels());
    let request = v1::PredictRequest { pixel_batch, ..v1::PredictRequest::default() };
    let native = server.prediction().predict(request).await.unwrap().into_inner().predictions;
    let expected: Vec<f32> = native.iter().flat_map(|one| one.probabilities.clone()).collect();
    let labels: Vec<u8> = native.iter().flat_map(|one| i64::from(one.label.unwrap()).to_le_bytes()).collect();
    for request in [infer_request(count), numbers(count)] {
        let response = infer(&server, request).await;
        assert_eq!(response.outputs[0].shape, [150, 10]);
        check_close(&floats(&response.raw_output_contents[0]), &expected);
        assert_eq!(response.raw_output_contents[1], labels);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_call_is_served_also_with_texts() {
    let server = TestServer::start().await;
    server.train().await;
    let blank = raw("UINT8", &[16_384, 784], vec![0; 784 * 16_384]);
    let response = infer(&server, blank.clone()).await;
    assert_eq!(response.raw_output_contents[0].len(), 16_384 * 40);
    let response = infer(&server, ModelInferRequest { outputs: classification(2), ..blank }).await;
    assert_eq!(response.outputs[0].shape, [16_384, 2]);
    // The text "0.123456:1:1" follows a length of four bytes.
    assert_eq!(response.raw_output_contents[0].len(), 16_384 * 2 * 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn rejections_name_the_field_as_in_other_calls() {
    let server = TestServer::start().await;
    let mut inference = client(&server);
    let nothing = error(inference.model_infer(infer_request(1)).await);
    check_not_found(&nothing, "MODEL_NOT_FOUND", "digits");
    server.train().await;
    let mut rejected = async |request| error(inference.model_infer(request).await);
    check_field(&rejected(ModelInferRequest::default()).await, "inputs");
    check_field(&rejected(raw("UINT8", &[1, 28, 27], vec![0; 784])).await, "inputs[0].shape");
    check_field(&rejected(raw("UINT8", &[1, 28, 28], vec![0; 783])).await, "raw_input_contents[0]");
    let nan: Vec<u8> = [f32::NAN; 784].iter().flat_map(|value| value.to_le_bytes()).collect();
    check_field(&rejected(raw("FP32", &[1, 784], nan)).await, "raw_input_contents[0]");
    let version = |text: &str| ModelInferRequest { model_version: text.to_owned(), ..infer_request(1) };
    check_not_found(&rejected(version("9")).await, "VERSION_NOT_FOUND", "digits/9");
    check_not_found(&rejected(version("beta")).await, "ALIAS_NOT_FOUND", "digits/beta");
    check_field(&rejected(version("-1")).await, "model_version");
    let named = |text: &str| ModelInferRequest { model_name: text.to_owned(), ..infer_request(1) };
    check_field(&rejected(named("../etc")).await, "model_name");
    check_field(
        &rejected(ModelInferRequest { outputs: classification(-1), ..infer_request(1) }).await,
        r#"outputs[0].parameters["classification"]"#,
    );
    let parameters = [("timeout".to_owned(), number(1))].into();
    let late = rejected(ModelInferRequest { parameters, ..infer_request(1) }).await;
    check(&late, Code::DeadlineExceeded, "DEADLINE");
    let index = RepositoryIndexRequest { repository_name: "other".to_owned(), ready: false };
    check_field(&error(client(&server).repository_index(index).await), "repository_name");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_names_the_version_it_points_to() {
    let server = TestServer::start().await;
    server.train().await;
    server.train().await;
    let serving_version = async |version: &str| {
        let request = ModelInferRequest { model_version: version.to_owned(), ..infer_request(1) };
        infer(&server, request).await.model_version
    };
    assert_eq!(
        (serving_version("").await, serving_version("1").await, serving_version("latest").await),
        ("2".into(), "1".into(), "2".into())
    );
    let set = v1::SetAliasRequest { alias: "production".to_owned(), version: 1, ..Default::default() };
    server.registry().set_alias(set).await.unwrap();
    assert_eq!((serving_version("").await, serving_version("production").await), ("1".into(), "1".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_both_protocols_are_counted_by_version() {
    let server = TestServer::start().await;
    server.train().await;
    server.train().await;
    let [none] = &statistics(&server, "digits", "1").await[..] else { panic!("one version") };
    assert_eq!((none.inference_count, none.last_inference), (0, 0));

    infer(&server, ModelInferRequest { model_version: "1".to_owned(), ..infer_request(3) }).await;
    let pixel_batch = Bytes::copy_from_slice(unseen_images(130).pixels());
    let which = Some(v1::model_ref::Which::Version(1));
    let model = Some(v1::ModelRef { name: String::new(), which });
    let request = v1::PredictRequest { model, pixel_batch, ..v1::PredictRequest::default() };
    server.prediction().predict(request).await.unwrap();
    let parameters = [("timeout".to_owned(), number(1))].into();
    let late = ModelInferRequest { model_version: "1".to_owned(), parameters, ..infer_request(1) };
    error(client(&server).model_infer(late).await);

    let [first] = &statistics(&server, "digits", "1").await[..] else { panic!("one version") };
    let stats = first.inference_stats.as_ref().unwrap();
    assert_eq!(stats.success.unwrap().count, 2);
    // A call of 3 images, and one of 130 in parts of 64, 64 and 2.
    assert_eq!((first.inference_count, first.execution_count), (133, 4));
    assert_eq!((stats.queue.unwrap().count, stats.compute_infer.unwrap().count), (4, 4));
    let sizes: Vec<_> = first
        .batch_stats
        .iter()
        .map(|batch| (batch.batch_size, batch.compute_infer.unwrap().count))
        .collect();
    assert_eq!(sizes, [(2, 1), (3, 1), (64, 2)]);
    assert!(stats.success.unwrap().ns >= stats.compute_infer.unwrap().ns / 4);

    infer(&server, infer_request(1)).await;
    let versions = statistics(&server, "digits", "").await.into_iter().map(|one| one.version);
    assert_eq!(versions.collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(statistics(&server, "", "").await.len(), 2);
    let unknown = ModelStatisticsRequest { name: "digits".to_owned(), version: "9".to_owned() };
    check_not_found(&error(client(&server).model_statistics(unknown).await), "VERSION_NOT_FOUND", "digits/9");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_responds_in_order_and_ends_when_the_server_drains() {
    let server = TestServer::start().await;
    server.train().await;
    let (requests, stream) = tokio::sync::mpsc::channel(4);
    let stream = tokio_stream::wrappers::ReceiverStream::new(stream);
    for (id, count) in [("a", 70), ("b", 1), ("c", 0)] {
        let request = ModelInferRequest { id: id.to_owned(), ..infer_request(count) };
        requests.send(request).await.unwrap();
    }
    let mut responses = client(&server).model_stream_infer(stream).await.unwrap().into_inner();
    for (id, images) in [("a", 70), ("b", 1)] {
        let message = responses.message().await.unwrap().unwrap();
        let response = message.infer_response.unwrap();
        assert_eq!((&*message.error_message, &*response.id), ("", id));
        assert_eq!(response.outputs[1].shape, [images]);
    }
    let rejected = responses.message().await.unwrap().unwrap();
    assert!(rejected.error_message.starts_with("inputs[0].shape: is [0, 28, 28]"), "{rejected:?}");
    assert_eq!(rejected.infer_response.unwrap().id, "c");
    let served = server.begin_to_stop();
    check(&responses.message().await.unwrap_err(), Code::Unavailable, "DRAINING");
    served.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_version_is_not_ready() {
    let server = TestServer::start().await;
    server.train().await;
    let store = server.stop().await;
    let weights = store.path().join("models/digits/versions/1/weights.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    let server = TestServer::on(store).await;
    let ready = async |name: &str, version: &str| {
        let request = ModelReadyRequest { name: name.to_owned(), version: version.to_owned() };
        client(&server).model_ready(request).await.map(|message| message.into_inner().ready)
    };
    assert!(!ready("digits", "1").await.unwrap());
    server.train().await;
    assert!(ready("digits", "").await.unwrap() && ready("", "2").await.unwrap());
    assert!(!ready("letters", "").await.unwrap());
    check_field(&ready("digits", "a b").await.unwrap_err(), "version");
}

#[tokio::test(flavor = "multi_thread")]
async fn models_of_another_size_report_it_and_name_their_classes() {
    let folder = tempfile::tempdir().unwrap();
    let set = bars(90);
    let server = trained_on_names(folder.path(), &set).await;
    let mut inference = client(&server);
    let metadata = inference.model_metadata(ModelMetadataRequest::default()).await.unwrap().into_inner();
    assert_eq!(metadata.inputs[0].shape, [-1, 1, 20, 12]);
    assert_eq!(metadata.outputs[0].shape, [-1, 3]);
    let config = inference.model_config(ModelConfigRequest::default()).await.unwrap().into_inner();
    let config = config.config.unwrap();
    assert_eq!(config.input[0].dims, [1, 20, 12]);
    assert_eq!(config.parameters["class_names"].string_value, r#"["across","blank","down"]"#);

    let pixels = set.slice(0..3).pixels().to_vec();
    let request = raw("UINT8", &[3, 1, 20, 12], pixels);
    let texts = infer(&server, ModelInferRequest { outputs: classification(1), ..request }).await;
    let texts = String::from_utf8_lossy(&texts.raw_output_contents[0]).into_owned();
    for name in [":0:across", ":2:down", ":1:blank"] {
        assert!(texts.contains(name), "{texts:?}");
    }
    let rejected = error(inference.model_infer(infer_request(1)).await);
    check_field(&rejected, "inputs[0].shape");
    assert!(rejected.message().contains("use [N, 1, 20, 12], [N, 20, 12] or [N, 240]"), "{rejected}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_lists_what_the_registry_holds() {
    let index = async |server: &TestServer| {
        let message = client(server).repository_index(RepositoryIndexRequest::default()).await.unwrap();
        message.into_inner().models
    };
    let server = TestServer::start().await;
    assert_eq!(index(&server).await, []);
    server.train().await;
    server.train().await;
    // A new server has loaded only the newest version.
    let server = TestServer::on(server.stop().await).await;
    infer(&server, infer_request(1)).await;
    let models = index(&server).await;
    let listed: Vec<_> =
        models.iter().map(|one| (&*one.name, &*one.version, &*one.state, one.reason.is_empty())).collect();
    assert_eq!(listed, [("digits", "1", "READY", false), ("digits", "2", "READY", true)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_message_are_rejected() {
    let server = TestServer::start().await;
    let mut grpc = tonic::client::Grpc::new(server.channel());
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<prost_types::Duration, ()>::default();
    let path = http::uri::PathAndQuery::from_static("/inference.GRPCInferenceService/ModelInfer");
    // The field of the model's name has a number.
    let message = prost_types::Duration { seconds: 1, nanos: 0 };
    check_field(&error(grpc.unary(tonic::Request::new(message), path, codec).await), "request");
}
