//! Measures a whole evaluation of MNIST's test images over gRPC against bulk prediction of the same images
//! (calls of 1 024 images by four callers at once), and prints one line of JSON. Rounds of both alternate, so
//! that other load on the machine affects both equally. Analyses yield to all other work: beside other load,
//! start this bench under `nice -n 5`, or that load slows down the evaluation alone.

mod program;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use digitd::{
    data::{Catalog, DatasetSpec, FetchPolicy, Split, ValidationSize},
    pb::digitd::v1::{
        Dataset, EvaluateRequest, PredictRequest, analysis_service_client::AnalysisServiceClient,
        prediction_service_client::PredictionServiceClient,
    },
};
use program::Server;
use tonic::transport::Channel;

const ROUNDS: usize = 15;
const CALLERS: usize = 4;
const PICTURES: usize = 1024;
const AREA: usize = 784;

#[tokio::main]
#[allow(clippy::print_stdout, reason = "figures are what a bench is for")]
async fn main() {
    let Some(data) = mnist() else {
        println!("{{\"what\": \"evaluate\", \"skipped\": \"MNIST is not in DIGITD_DATA_DIR\"}}");
        return;
    };
    let store = tempfile::tempdir().expect("a folder for the store");
    program::train(store.path(), &[]);
    let mut digitd = program::digitd(store.path());
    digitd.env("DIGITD_DATA_DIR", &data);
    let server = Server::start(digitd, &[]);
    let channel = server.connect().await;
    let images = test_images(&data);
    let (mut evaluated, mut predicted, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let mut cpu = [0.0; 2];
    // The first round is a warm-up.
    for round in 0..=ROUNDS {
        let before = server.cpu_seconds();
        let evaluate = evaluate(channel.clone()).await;
        let between = server.cpu_seconds();
        let predict = predict(channel.clone(), &images).await;
        if round > 0 {
            cpu[0] += (between - before) / ROUNDS as f64;
            cpu[1] += (server.cpu_seconds() - between) / ROUNDS as f64;
            evaluated.push(evaluate);
            predicted.push(predict);
            ratios.push(evaluate / predict);
        }
    }
    println!(
        "{{\"what\": \"evaluate\", \"variant\": \"digitd\", \"images\": {}, \"evaluate_images_s\": {:.0}, \
         \"bulk_predict_images_s\": {:.0}, \"ratio\": {:.2}, \"evaluate_cpu_s\": {:.3}, \"bulk_predict_cpu_s\": {:.3}, \
         \"reps\": {ROUNDS}}}",
        images.len() / AREA,
        median(&mut evaluated),
        median(&mut predicted),
        median(&mut ratios),
        cpu[0],
        cpu[1],
    );
}

/// Returns the images per second of one evaluation with default settings.
async fn evaluate(channel: Channel) -> f64 {
    let dataset = Some(Dataset { name: "mnist".to_owned(), ..Dataset::default() });
    let request = EvaluateRequest { dataset, ..EvaluateRequest::default() };
    let began = Instant::now();
    let response = AnalysisServiceClient::new(channel).evaluate(request).await;
    let total = response.expect("the version is measured").into_inner().total;
    f64::from(total) / began.elapsed().as_secs_f64()
}

/// Returns the images per second of callers that share the calls among them.
async fn predict(channel: Channel, images: &Bytes) -> f64 {
    let calls: Vec<Bytes> = (0..images.len())
        .step_by(PICTURES * AREA)
        .map(|start| images.slice(start..images.len().min(start + PICTURES * AREA)))
        .collect();
    let calls = Arc::new(tokio::sync::Mutex::new(calls));
    let began = Instant::now();
    let callers = (0..CALLERS).map(|_| {
        let (calls, channel) = (calls.clone(), channel.clone());
        tokio::spawn(async move {
            let mut client = PredictionServiceClient::new(channel);
            loop {
                let Some(pixel_batch) = calls.lock().await.pop() else { return };
                let request = PredictRequest { pixel_batch, ..PredictRequest::default() };
                client.predict(request).await.expect("the version predicts");
            }
        })
    });
    for caller in futures::future::join_all(callers).await {
        caller.expect("no caller panics");
    }
    (images.len() / AREA) as f64 / began.elapsed().as_secs_f64()
}

fn median(rates: &mut [f64]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// The folder of MNIST: the one that the variable names, or the one that it was fetched to.
fn mnist() -> Option<PathBuf> {
    let own = std::env::var_os("DIGITD_DATA_DIR").map(PathBuf::from);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [own, Some(root.join("data"))];
    let has_it = |folder: &PathBuf| folder.join("t10k-images-idx3-ubyte.gz").exists();
    folders.into_iter().flatten().find(has_it)
}

fn test_images(data: &Path) -> Bytes {
    let catalog = Catalog::new(vec![data.to_owned()], FetchPolicy::Never);
    let mnist = DatasetSpec::whole("mnist".parse().expect("a name"));
    let images = catalog.load_split(&mnist, ValidationSize::default(), Split::Test).expect("MNIST is there");
    Bytes::copy_from_slice(images.pixels())
}
