//! A server that is asked for more than it can: its answers and their times at ten times the callers,
//! its memory through a hundred swaps of the version it serves, and predictions beside a run. The
//! callers do what a refusal tells them: they wait before they ask again. JSON lines.

#![allow(clippy::print_stdout, reason = "figures are what a bench is for")]

mod program;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use digitd::pb::digitd::v1::{
    Dataset, PredictRequest, SetAliasRequest, TrainRequest,
    prediction_service_client::PredictionServiceClient, registry_service_client::RegistryServiceClient,
    training_service_client::TrainingServiceClient,
};
use program::{Server, digitd};
use tokio::sync::watch;
use tonic::{Status, transport::Channel};
use tonic_types::StatusExt;

/// Callers that a server takes without refusing any: as many as its queue has room for.
const CAPACITY: usize = 64;
const AT_CAPACITY: Duration = Duration::from_secs(15);
const OVERLOAD: Duration = Duration::from_secs(60);

/// Callers that share a connection: a server lets no more than 200 calls at once come by one, and the others
/// would wait where it does not see them.
const SHARING: usize = 64;

const SWAPS: usize = 100;
const CALLERS: usize = 64;
/// Its figures are compared with those at the end: by then every version was loaded.
const FIRST_SWAPS: usize = 10;

/// Callers that leave the server time to train.
const MODERATE: usize = 2;
const BESIDE: Duration = Duration::from_secs(15);

#[tokio::main]
async fn main() {
    let store = tempfile::tempdir().expect("a folder for the store");
    program::train(store.path());
    program::train(store.path());
    let room = CAPACITY.to_string();
    overload(&Server::start(digitd(store.path()), &["--queue-capacity", &room])).await;
    swaps(&Server::start(digitd(store.path()), &[])).await;
    training(&Server::start(digitd(store.path()), &[])).await;
}

/// What callers met.
#[derive(Debug, Default)]
struct Met {
    /// Of each answer.
    times: Vec<Duration>,
    refusals: BTreeMap<String, usize>,
}

impl Met {
    fn percentile(&mut self, share: f64) -> f64 {
        self.times.sort_unstable();
        let place = (self.times.len() as f64 * share) as usize;
        self.times.get(place.min(self.times.len() - 1)).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    }

    fn figures(&mut self, took: Duration) -> String {
        format!(
            "\"answers_s\": {:.0}, \"p50_ms\": {:.2}, \"p99_ms\": {:.2}, \"refusals\": {:?}",
            self.times.len() as f64 / took.as_secs_f64(),
            self.percentile(0.5),
            self.percentile(0.99),
            self.refusals,
        )
    }
}

async fn overload(server: &Server) {
    let mut at_capacity = call(server, CAPACITY, AT_CAPACITY).await;
    let memory = server.resident_mb();
    let mut beyond = call(server, 10 * CAPACITY, OVERLOAD).await;
    println!(
        "{{\"what\": \"capacity\", \"callers\": {CAPACITY}, {}, \"resident_mb\": {memory:.0}}}",
        at_capacity.figures(AT_CAPACITY)
    );
    println!(
        "{{\"what\": \"overload\", \"callers\": {}, {}, \"p99_ratio\": {:.2}, \"resident_mb\": {:.0}}}",
        10 * CAPACITY,
        beyond.figures(OVERLOAD),
        beyond.percentile(0.99) / at_capacity.percentile(0.99),
        server.resident_mb(),
    );
}

async fn swaps(server: &Server) {
    let (stop, _) = watch::channel(false);
    let calling = ask(server, CALLERS, &stop).await;
    let mut registry = RegistryServiceClient::new(server.connect().await);
    let mut early = 0.0;
    for swap in 0..SWAPS {
        if swap == FIRST_SWAPS {
            early = server.resident_mb();
        }
        let version = (1 + swap % 2) as i32;
        let request =
            SetAliasRequest { alias: "production".to_owned(), version, ..SetAliasRequest::default() };
        registry.set_alias(request).await.expect("the version is there");
        // Until callers get the new version.
        let mut client = PredictionServiceClient::new(server.connect().await);
        while client.predict(question()).await.is_ok_and(|answer| answer.into_inner().version != version) {}
    }
    stop.send_replace(true);
    let met = together(calling).await;
    println!(
        "{{\"what\": \"swaps\", \"swaps\": {SWAPS}, \"callers\": {CALLERS}, \"answers\": {}, \"refusals\": {:?}, \
         \"resident_mb_after_{FIRST_SWAPS}\": {early:.0}, \"resident_mb_after_{SWAPS}\": {:.0}}}",
        met.times.len(),
        met.refusals,
        server.resident_mb(),
    );
}

async fn training(server: &Server) {
    let mut alone = call(server, MODERATE, BESIDE).await;
    let dataset = Dataset { name: "synthetic".to_owned(), ..Dataset::default() };
    let run = TrainRequest { dataset: Some(dataset), epochs: Some(1000), ..TrainRequest::default() };
    let events = TrainingServiceClient::new(server.connect().await).train(run).await;
    let mut events = events.expect("nothing else trains").into_inner();
    // Its start and its first batch.
    for _ in 0..2 {
        events.message().await.expect("it trains").expect("it goes on");
    }
    let mut beside = call(server, MODERATE, BESIDE).await;
    println!("{{\"what\": \"alone\", \"callers\": {MODERATE}, {}}}", alone.figures(BESIDE));
    println!(
        "{{\"what\": \"beside a run\", \"callers\": {MODERATE}, {}, \"p99_ratio\": {:.2}}}",
        beside.figures(BESIDE),
        beside.percentile(0.99) / alone.percentile(0.99),
    );
}

async fn call(server: &Server, callers: usize, time: Duration) -> Met {
    let (stop, _) = watch::channel(false);
    let calling = ask(server, callers, &stop).await;
    tokio::time::sleep(time).await;
    stop.send_replace(true);
    together(calling).await
}

/// Starts callers that each ask again as soon as they are answered, until they are told to stop.
async fn ask(
    server: &Server,
    callers: usize,
    stop: &watch::Sender<bool>,
) -> Vec<tokio::task::JoinHandle<Met>> {
    let mut channels = Vec::new();
    for _ in 0..callers.div_ceil(SHARING) {
        channels.push(server.connect().await);
    }
    let caller = |index: usize| {
        let (channel, stop) = (channels[index % channels.len()].clone(), stop.subscribe());
        tokio::spawn(caller(channel, stop))
    };
    (0..callers).map(caller).collect()
}

async fn caller(channel: Channel, stop: watch::Receiver<bool>) -> Met {
    let mut client = PredictionServiceClient::new(channel);
    let mut met = Met::default();
    while !*stop.borrow() {
        let began = Instant::now();
        match client.predict(question()).await {
            Ok(_) => met.times.push(began.elapsed()),
            Err(refusal) => {
                *met.refusals.entry(format!("{:?}", refusal.code())).or_default() += 1;
                tokio::time::sleep(patience(&refusal)).await;
            }
        }
    }
    met
}

/// How long a refusal tells to wait.
fn patience(refusal: &Status) -> Duration {
    refusal.get_details_retry_info().and_then(|retry| retry.retry_delay).unwrap_or_default()
}

fn question() -> PredictRequest {
    PredictRequest { pixel_batch: vec![0; 784].into(), ..PredictRequest::default() }
}

async fn together(calling: Vec<tokio::task::JoinHandle<Met>>) -> Met {
    let mut all = Met::default();
    for met in calling {
        let met = met.await.expect("no caller panics");
        all.times.extend(met.times);
        for (code, count) in met.refusals {
            *all.refusals.entry(code).or_default() += count;
        }
    }
    all
}
