//! Measures the served program from outside: the time from its start until health reports SERVING with a
//! model loaded, its resident memory while it predicts, and the images per second of each protocol, in turn.
//! It prints lines of JSON.

mod program;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use digitd::pb::{
    digitd::v1::{PredictRequest, prediction_service_client::PredictionServiceClient},
    inference::{
        ModelInferRequest, grpc_inference_service_client::GrpcInferenceServiceClient,
        model_infer_request::InferInputTensor,
    },
};
use program::{Server, digitd};
use tonic::transport::Channel;

const STARTS: usize = 7;
const CALLS: usize = 2000;

/// The number of concurrent callers, each with one image per call, and the number and duration of the
/// measurements.
const CALLERS: usize = 64;
const ROUNDS: usize = 21;
const ROUND: Duration = Duration::from_millis(700);

/// The protocol of a call.
#[derive(Debug, Clone, Copy)]
enum Protocol {
    Native,
    InferenceUint8,
    InferenceFp32,
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "figures are what a bench is for")]
async fn main() {
    let store = tempfile::tempdir().expect("a folder for the store");
    program::train(store.path(), &[]);
    let mut starts = Vec::new();
    let mut memory = 0.0;
    for _ in 0..STARTS {
        let began = Instant::now();
        let server = Server::start(digitd(store.path()), &[]);
        let channel = server.connect().await;
        starts.push(began.elapsed().as_secs_f64());
        predict(channel).await;
        memory = server.resident_mb();
    }
    starts.sort_by(f64::total_cmp);
    println!(
        "{{\"what\": \"start\", \"variant\": \"digitd\", \"serving_s\": {:.3}, \"worst_s\": {:.3}, \"reps\": {STARTS}}}",
        starts[STARTS / 2],
        starts[STARTS - 1],
    );
    println!(
        "{{\"what\": \"memory\", \"variant\": \"digitd\", \"resident_mb\": {memory:.1}, \"calls\": {CALLS}}}"
    );
    rates(store.path()).await;
}

/// Every round has every protocol, so that other load on the machine affects all equally.
#[allow(clippy::print_stdout, reason = "figures are what a bench is for")]
async fn rates(store: &Path) {
    let server = Server::start(digitd(store), &[]);
    let channel = server.connect().await;
    predict(channel.clone()).await;
    let mut protocols = [Protocol::Native, Protocol::InferenceUint8, Protocol::InferenceFp32]
        .map(|protocol| (protocol, Vec::new(), 0.0));
    for _ in 0..ROUNDS {
        for (protocol, rates, cpu) in &mut protocols {
            let before = server.cpu_seconds();
            let (asked, seconds) = ask_for_a_round(&channel, *protocol).await;
            rates.push(asked / seconds);
            *cpu += (server.cpu_seconds() - before) / asked;
        }
    }
    for (protocol, mut rates, cpu) in protocols {
        rates.sort_by(f64::total_cmp);
        println!(
            "{{\"what\": \"rate\", \"variant\": \"{protocol:?}\", \"callers\": {CALLERS}, \"images_s\": {:.0}, \
             \"worst\": {:.0}, \"best\": {:.0}, \"server_cpu_us\": {:.1}, \"reps\": {ROUNDS}}}",
            rates[ROUNDS / 2],
            rates[0],
            rates[ROUNDS - 1],
            cpu / ROUNDS as f64 * 1e6,
        );
    }
}

/// Returns the number of images of callers that each send the next call when the previous one has its response,
/// and the seconds that passed.
async fn ask_for_a_round(channel: &Channel, protocol: Protocol) -> (f64, f64) {
    let began = Instant::now();
    let callers = (0..CALLERS).map(|_| {
        let channel = channel.clone();
        tokio::spawn(async move {
            let mut asked = 0;
            while began.elapsed() < ROUND {
                predict_once(channel.clone(), protocol).await;
                asked += 1;
            }
            asked
        })
    });
    let asked: u32 = futures::future::join_all(callers)
        .await
        .into_iter()
        .map(|asked| asked.expect("no caller panics"))
        .sum();
    (f64::from(asked), began.elapsed().as_secs_f64())
}

async fn predict_once(channel: Channel, protocol: Protocol) {
    let (datatype, bytes) = match protocol {
        Protocol::Native => {
            let request = PredictRequest { pixel_batch: vec![0; 784].into(), ..PredictRequest::default() };
            let response = PredictionServiceClient::new(channel).predict(request).await;
            response.expect("a version is served");
            return;
        }
        Protocol::InferenceUint8 => ("UINT8", 784),
        Protocol::InferenceFp32 => ("FP32", 784 * size_of::<f32>()),
    };
    let input = InferInputTensor {
        name: "input".to_owned(),
        datatype: datatype.to_owned(),
        shape: vec![1, 1, 28, 28],
        ..InferInputTensor::default()
    };
    let request = ModelInferRequest {
        model_name: "digits".to_owned(),
        inputs: vec![input],
        raw_input_contents: vec![vec![0; bytes].into()],
        ..ModelInferRequest::default()
    };
    GrpcInferenceServiceClient::new(channel).model_infer(request).await.expect("a version is served");
}

async fn predict(channel: Channel) {
    let mut client = PredictionServiceClient::new(channel);
    for _ in 0..CALLS {
        let request = PredictRequest { pixel_batch: vec![0; 784].into(), ..PredictRequest::default() };
        client.predict(request).await.expect("a version is served");
    }
}
