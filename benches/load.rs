//! Measures a server under overload, and its memory through a hundred swaps of the served version. It prints
//! lines of JSON.
//!
//! `overload` has ten times the callers that the queue has room for; after a rejection a caller waits as long
//! as it was asked to. `flood` sends ten times the calls per second that the server can serve, each with a
//! deadline, without waiting for earlier calls; its network is so large that callers on the same machine can
//! send that many. `cargo bench --bench load -- flood` measures that part alone.

#![allow(clippy::print_stdout, reason = "figures are what a bench is for")]

mod program;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use digitd::pb::digitd::v1::{
    PredictRequest, SetAliasRequest, prediction_service_client::PredictionServiceClient,
    registry_service_client::RegistryServiceClient,
};
use program::{Server, digitd};
use tokio::{sync::watch, task::JoinSet};
use tonic::{Code, Request, Status, transport::Channel};
use tonic_types::StatusExt;

/// The number of callers that a server accepts without rejections: as many as its queue has room for.
const CAPACITY: usize = 64;
const AT_CAPACITY: Duration = Duration::from_secs(15);
const OVERLOAD: Duration = Duration::from_secs(60);

/// The number of callers that share a connection: a server accepts at most 1024 concurrent calls per
/// connection, and further ones would wait where the server does not see them.
const SHARING: usize = 64;

const SWAPS: usize = 100;
const CALLERS: usize = 64;
/// The number of swaps after which the memory is compared with that at the end: every version was loaded by
/// then.
const FIRST_SWAPS: usize = 10;

/// A network of 250 million multiply-adds per image, a hundred times the tutorial's.
const WIDE: &str = r#"{"network": {"layers": [
    {"conv": {"outChannels": 112, "kernelSize": 5, "padding": 2}}, {"relu": {}},
    {"conv": {"outChannels": 112, "kernelSize": 5, "padding": 2}}, {"relu": {}},
    {"maxPool": {"kernelSize": 4}}, {"flatten": {}}, {"linear": {"outFeatures": 10}}]}}"#;

/// The calls of a flood relative to those that the server can serve, and the deadline of each.
const TIMES: f64 = 10.0;
const DEADLINE_MS: usize = 1000;

#[tokio::main]
async fn main() {
    let store = tempfile::tempdir().expect("a folder for the store");
    program::train(store.path(), &[]);
    program::train(store.path(), &[]);
    let room = CAPACITY.to_string();
    if is_asked_for("overload") {
        overload(&Server::start(digitd(store.path()), &["--queue-capacity", &room])).await;
    }
    if is_asked_for("swaps") {
        swaps(&Server::start(digitd(store.path()), &[])).await;
    }
    if !is_asked_for("flood") {
        return;
    }
    let wide = tempfile::tempdir().expect("a folder for the store and the request");
    let (store, request) = (wide.path().join("store"), wide.path().join("request.json"));
    std::fs::write(&request, WIDE).expect("the folder is writable");
    program::train(&store, &["--request", &request.display().to_string()]);
    flood(&Server::start(digitd(&store), &["--queue-capacity", &room])).await;
}

/// Whether the command line names a part, or none.
fn is_asked_for(part: &str) -> bool {
    let named: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    named.is_empty() || named.iter().any(|name| name == part)
}

/// The outcomes of calls.
#[derive(Debug, Default)]
struct CallOutcomes {
    /// The latency of each successful call.
    times: Vec<Duration>,
    rejections: BTreeMap<String, usize>,
}

impl CallOutcomes {
    fn percentile(&mut self, share: f64) -> f64 {
        self.times.sort_unstable();
        let place = (self.times.len() as f64 * share) as usize;
        self.times.get(place.min(self.times.len() - 1)).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    }

    fn add(&mut self, outcome: Result<Duration, Status>) {
        match outcome {
            Ok(time) => self.times.push(time),
            // The code that tonic's client returns for a deadline that it finds exceeded itself.
            Err(late) if late.message() == "Timeout expired" => self.reject(Code::DeadlineExceeded),
            Err(rejection) => self.reject(rejection.code()),
        }
    }

    fn reject(&mut self, code: Code) {
        *self.rejections.entry(format!("{code:?}")).or_default() += 1;
    }

    fn figures(&mut self, took: Duration) -> String {
        format!(
            "\"answers_s\": {:.0}, \"p50_ms\": {:.2}, \"p99_ms\": {:.2}, \"rejections\": {:?}",
            self.times.len() as f64 / took.as_secs_f64(),
            self.percentile(0.5),
            self.percentile(0.99),
            self.rejections,
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
    let calling = start_callers(server, CALLERS, &stop).await;
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
        // Waits until callers get the new version.
        let mut client = PredictionServiceClient::new(server.connect().await);
        while client
            .predict(predict_request())
            .await
            .is_ok_and(|outcome| outcome.into_inner().version != version)
        {}
    }
    stop.send_replace(true);
    let outcomes = together(calling).await;
    println!(
        "{{\"what\": \"swaps\", \"swaps\": {SWAPS}, \"callers\": {CALLERS}, \"answers\": {}, \"rejections\": {:?}, \
         \"resident_mb_after_{FIRST_SWAPS}\": {early:.0}, \"resident_mb_after_{SWAPS}\": {:.0}}}",
        outcomes.times.len(),
        outcomes.rejections,
        server.resident_mb(),
    );
}

async fn flood(server: &Server) {
    let mut at_capacity = call(server, CAPACITY, AT_CAPACITY).await;
    let memory = server.resident_mb();
    let capacity = at_capacity.times.len() as f64 / AT_CAPACITY.as_secs_f64();
    let (mut beyond, asked) = send_at_rate(server, TIMES * capacity).await;
    println!(
        "{{\"what\": \"capacity\", \"network\": \"wide\", \"callers\": {CAPACITY}, {}, \"resident_mb\": {memory:.0}}}",
        at_capacity.figures(AT_CAPACITY)
    );
    println!(
        "{{\"what\": \"flood\", \"network\": \"wide\", \"asked_s\": {:.0}, {}, \"p99_ratio\": {:.2}, \
         \"resident_mb\": {:.0}}}",
        asked as f64 / OVERLOAD.as_secs_f64(),
        beyond.figures(OVERLOAD),
        beyond.percentile(0.99) / at_capacity.percentile(0.99),
        server.resident_mb(),
    );
}

/// Sends a fixed number of calls per second without waiting for earlier ones; also returns how many it sent.
async fn send_at_rate(server: &Server, rate: f64) -> (CallOutcomes, usize) {
    let mut channels = Vec::new();
    for _ in 0..10 {
        channels.push(server.connect().await);
    }
    let (mut outcomes, mut asked, mut calls) = (CallOutcomes::default(), 0, JoinSet::new());
    let began = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    while began.elapsed() < OVERLOAD {
        ticks.tick().await;
        while (asked as f64) < rate * began.elapsed().as_secs_f64() {
            calls.spawn(ask_once(channels[asked % channels.len()].clone()));
            asked += 1;
        }
        while let Some(outcome) = calls.try_join_next() {
            outcomes.add(outcome.expect("no call panics"));
        }
    }
    while let Some(outcome) = calls.join_next().await {
        outcomes.add(outcome.expect("no call panics"));
    }
    (outcomes, asked)
}

async fn ask_once(channel: Channel) -> Result<Duration, Status> {
    let mut request = Request::new(predict_request());
    // Only the header is set, so that the server ends the call and not the client.
    let deadline = format!("{DEADLINE_MS}m").parse().expect("a header's value");
    request.metadata_mut().insert("grpc-timeout", deadline);
    let began = Instant::now();
    PredictionServiceClient::new(channel).predict(request).await.map(|_| began.elapsed())
}

async fn call(server: &Server, callers: usize, time: Duration) -> CallOutcomes {
    let (stop, _) = watch::channel(false);
    let calling = start_callers(server, callers, &stop).await;
    tokio::time::sleep(time).await;
    stop.send_replace(true);
    together(calling).await
}

/// Starts callers that each send the next call when the previous one has its response, until they are stopped.
async fn start_callers(
    server: &Server,
    callers: usize,
    stop: &watch::Sender<bool>,
) -> Vec<tokio::task::JoinHandle<CallOutcomes>> {
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

async fn caller(channel: Channel, stop: watch::Receiver<bool>) -> CallOutcomes {
    let mut client = PredictionServiceClient::new(channel);
    let mut outcomes = CallOutcomes::default();
    while !*stop.borrow() {
        let began = Instant::now();
        let outcome = client.predict(predict_request()).await.map(|_| began.elapsed());
        let pause = outcome.as_ref().err().map(patience);
        outcomes.add(outcome);
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
    }
    outcomes
}

/// The retry delay of a rejection.
fn patience(rejection: &Status) -> Duration {
    rejection.get_details_retry_info().and_then(|retry| retry.retry_delay).unwrap_or_default()
}

fn predict_request() -> PredictRequest {
    PredictRequest { pixel_batch: vec![0; 784].into(), ..PredictRequest::default() }
}

async fn together(calling: Vec<tokio::task::JoinHandle<CallOutcomes>>) -> CallOutcomes {
    let mut all = CallOutcomes::default();
    for outcomes in calling {
        let outcomes = outcomes.await.expect("no caller panics");
        all.times.extend(outcomes.times);
        for (code, count) in outcomes.rejections {
            *all.rejections.entry(code).or_default() += count;
        }
    }
    all
}
