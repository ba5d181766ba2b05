//! A load generator: callers that request predictions of a digitd server as fast as it serves them. It
//! prints one line of JSON: calls and images a second, latencies, failed calls, and the labels of the
//! first call.
//!
//! ```sh
//! cargo run --release --example load -- --callers 64 --seconds 5
//! cargo run --release --example load -- --protocol oip --images 1024 --callers 4
//! ```
//!
//! The images are 28×28 bytes each, read from a file of such bytes (`--pictures`) or drawn at random:
//! what an image shows does not change its cost.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use clap::{Parser, ValueEnum};
use digitd::pb::{
    digitd::v1::{ModelRef, PredictRequest, prediction_service_client::PredictionServiceClient},
    inference::{
        ModelInferRequest,
        grpc_inference_service_client::GrpcInferenceServiceClient,
        model_infer_request::{InferInputTensor, InferRequestedOutputTensor},
    },
};
use serde_json::json;
use tokio::task::JoinSet;
use tonic::{Status, transport::Channel};

/// The bytes of an image.
const AREA: usize = 28 * 28;

/// The callers that share a connection.
const CALLERS_PER_CONNECTION: usize = 64;

/// The number of different calls, which alternate so that no cache can serve them.
const DIFFERENT_CALLS: usize = 256;

/// Sends calls to a digitd server as fast as it serves them, and prints the result as JSON.
#[derive(Parser)]
struct Options {
    /// The server's address
    #[arg(long, default_value = "http://127.0.0.1:8001")]
    server: String,
    /// The model to request
    #[arg(long, default_value = "digits")]
    model: String,
    #[arg(long, value_enum, default_value = "native")]
    protocol: Protocol,
    /// Concurrent calls
    #[arg(long, default_value_t = 1)]
    callers: usize,
    /// Images in a call
    #[arg(long, default_value_t = 1)]
    images: usize,
    /// The seconds to measure, after a warm-up of a tenth of that
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// A file of images, 784 bytes each, from 0 (background) to 255 (ink)
    #[arg(long)]
    pictures: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Protocol {
    /// `PredictionService.Predict` of digitd's own contract
    Native,
    /// `ModelInfer` of the Open Inference Protocol
    Oip,
}

/// The state that all callers share.
struct Load {
    options: Options,
    /// The pixels of each of the different calls.
    calls: Vec<Bytes>,
    measure_from: Instant,
    until: Instant,
}

/// The measurements of one caller.
#[derive(Default)]
struct CallerStats {
    microseconds: Vec<u32>,
    failed: usize,
    failure: Option<String>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    let calls = calls(&options)?;
    let channels = connect(&options).await?;
    let labels = predict_labels(channels[0].clone(), &options, calls[0].clone()).await?;
    let began = Instant::now();
    let measure_from = began + Duration::from_secs_f64(options.seconds / 10.0);
    let until = measure_from + Duration::from_secs_f64(options.seconds);
    let load = Arc::new(Load { options, calls, measure_from, until });
    let mut callers = JoinSet::new();
    for number in 0..load.options.callers {
        callers.spawn(call(load.clone(), channels[number % channels.len()].clone(), number));
    }
    let stats = callers.join_all().await;
    print(&load.options, &labels, stats);
    Ok(())
}

fn calls(options: &Options) -> Result<Vec<Bytes>, Box<dyn std::error::Error>> {
    let size = options.images * AREA;
    if size == 0 {
        return Err("--images is 0: a call has a picture at least".into());
    }
    let pixels = match &options.pictures {
        Some(path) => {
            std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?
        }
        // A multiplicative hash makes all images different.
        None => (0..(16 * size).max(AREA * DIFFERENT_CALLS) as u64)
            .map(|at| (at.wrapping_mul(2_654_435_761) >> 7) as u8)
            .collect(),
    };
    let pixels = Bytes::from(pixels);
    let calls: Vec<Bytes> = (0..pixels.len() / size)
        .take(DIFFERENT_CALLS)
        .map(|index| pixels.slice(index * size..(index + 1) * size))
        .collect();
    if calls.is_empty() {
        return Err(format!("the file holds less than {} pictures of {AREA} bytes", options.images).into());
    }
    Ok(calls)
}

async fn connect(options: &Options) -> Result<Vec<Channel>, tonic::transport::Error> {
    let mut channels = Vec::new();
    for _ in 0..options.callers.div_ceil(CALLERS_PER_CONNECTION).max(1) {
        channels.push(Channel::from_shared(options.server.clone()).expect("an address").connect().await?);
    }
    Ok(channels)
}

/// One caller: it sends the next call when the previous one has its response.
async fn call(load: Arc<Load>, channel: Channel, number: usize) -> CallerStats {
    let mut stats = CallerStats::default();
    for turn in number.. {
        let began = Instant::now();
        if began >= load.until {
            break;
        }
        let response =
            predict_labels(channel.clone(), &load.options, load.calls[turn % load.calls.len()].clone()).await;
        if began < load.measure_from {
            continue;
        }
        match response {
            Ok(_) => stats.microseconds.push(began.elapsed().as_micros().try_into().unwrap_or(u32::MAX)),
            Err(status) => {
                stats.failed += 1;
                stats.failure.get_or_insert_with(|| format!("{:?}: {}", status.code(), status.message()));
            }
        }
    }
    stats
}

/// Makes one call; returns the labels of its images.
async fn predict_labels(channel: Channel, options: &Options, pixels: Bytes) -> Result<Vec<i64>, Status> {
    match options.protocol {
        Protocol::Native => {
            let model = ModelRef { name: options.model.clone(), ..ModelRef::default() };
            let request =
                PredictRequest { model: Some(model), pixel_batch: pixels, ..PredictRequest::default() };
            let response = PredictionServiceClient::new(channel).predict(request).await?.into_inner();
            Ok(response.predictions.iter().map(|prediction| prediction.label().into()).collect())
        }
        Protocol::Oip => {
            let input = InferInputTensor {
                name: "input".to_owned(),
                datatype: "UINT8".to_owned(),
                shape: vec![options.images as i64, AREA as i64],
                ..InferInputTensor::default()
            };
            let label = InferRequestedOutputTensor { name: "label".to_owned(), ..Default::default() };
            let request = ModelInferRequest {
                model_name: options.model.clone(),
                inputs: vec![input],
                outputs: vec![label],
                raw_input_contents: vec![pixels],
                ..ModelInferRequest::default()
            };
            let mut client = GrpcInferenceServiceClient::new(channel);
            let response = client.model_infer(request).await?.into_inner();
            let labels = response.raw_output_contents.first().map_or(&[][..], |labels| labels.as_chunks().0);
            Ok(labels.iter().copied().map(i64::from_le_bytes).collect())
        }
    }
}

#[allow(clippy::print_stdout, reason = "the figures are what it is for")]
fn print(options: &Options, labels: &[i64], stats: Vec<CallerStats>) {
    let failed: usize = stats.iter().map(|caller| caller.failed).sum();
    let failure = stats.iter().find_map(|caller| caller.failure.clone());
    let mut latencies: Vec<u32> = stats.into_iter().flat_map(|caller| caller.microseconds).collect();
    latencies.sort_unstable();
    let calls = latencies.len();
    let percentile = |share: f64| latencies.get((calls as f64 * share) as usize).copied();
    let figures = json!({
        "callers": options.callers,
        "images_per_call": options.images,
        "calls_per_second": calls as f64 / options.seconds,
        "images_per_second": (calls * options.images) as f64 / options.seconds,
        "p50_us": percentile(0.5),
        "p99_us": percentile(0.99),
        "failed_calls": failed,
        "failure": failure,
        "labels": labels,
    });
    println!("{figures}");
}
