//! A server that is asked for more than it can, and its memory through a hundred swaps of the version it
//! serves. JSON lines.
//!
//! `overload`: ten times the callers that it has room for, which do what a refusal tells them: they wait
//! before they ask again. `flood`: ten times the calls a second that it can answer, each with a deadline,
//! whatever becomes of those before; of a network so wide that whoever calls can ask that much on the same
//! machine. `cargo bench --bench load -- flood` measures that part alone.

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

/// Callers that a server takes without refusing any: as many as its queue has room for.
const CAPACITY: usize = 64;
const AT_CAPACITY: Duration = Duration::from_secs(15);
const OVERLOAD: Duration = Duration::from_secs(60);

/// Callers that share a connection: a server lets no more than 1024 calls at once come by one, and the others
/// would wait where it does not see them.
const SHARING: usize = 64;

const SWAPS: usize = 100;
const CALLERS: usize = 64;
/// Its figures are compared with those at the end: by then every version was loaded.
const FIRST_SWAPS: usize = 10;

/// A network of 250 million multiply-adds a picture, a hundred times the tutorial's.
const WIDE: &str = r#"{"network": {"layers": [
    {"conv": {"outChannels": 112, "kernelSize": 5, "padding": 2}}, {"relu": {}},
    {"conv": {"outChannels": 112, "kernelSize": 5, "padding": 2}}, {"relu": {}},
    {"maxPool": {"kernelSize": 4}}, {"flatten": {}}, {"linear": {"outFeatures": 10}}]}}"#;

/// Calls of a flood in those that the server can answer, and how long each of them is waited for.
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

/// Whether a part is named on the command line, or none is.
fn is_asked_for(part: &str) -> bool {
    let named: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    named.is_empty() || named.iter().any(|name| name == part)
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

    fn add(&mut self, answer: Result<Duration, Status>) {
        match answer {
            Ok(time) => self.times.push(time),
            // What tonic's client calls a deadline that it finds passed by itself.
            Err(late) if late.message() == "Timeout expired" => self.refuse(Code::DeadlineExceeded),
            Err(refusal) => self.refuse(refusal.code()),
        }
    }

    fn refuse(&mut self, code: Code) {
        *self.refusals.entry(format!("{code:?}")).or_default() += 1;
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

async fn flood(server: &Server) {
    let mut at_capacity = call(server, CAPACITY, AT_CAPACITY).await;
    let memory = server.resident_mb();
    let capacity = at_capacity.times.len() as f64 / AT_CAPACITY.as_secs_f64();
    let (mut beyond, asked) = pour(server, TIMES * capacity).await;
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

/// Asks so many times a second, whatever becomes of what was asked before; also tells how often it did.
async fn pour(server: &Server, rate: f64) -> (Met, usize) {
    let mut channels = Vec::new();
    for _ in 0..10 {
        channels.push(server.connect().await);
    }
    let (mut met, mut asked, mut calls) = (Met::default(), 0, JoinSet::new());
    let began = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    while began.elapsed() < OVERLOAD {
        ticks.tick().await;
        while (asked as f64) < rate * began.elapsed().as_secs_f64() {
            calls.spawn(ask_once(channels[asked % channels.len()].clone()));
            asked += 1;
        }
        while let Some(answer) = calls.try_join_next() {
            met.add(answer.expect("no call panics"));
        }
    }
    while let Some(answer) = calls.join_next().await {
        met.add(answer.expect("no call panics"));
    }
    (met, asked)
}

async fn ask_once(channel: Channel) -> Result<Duration, Status> {
    let mut request = Request::new(question());
    // The header alone: the server is to end the call, not the client.
    let deadline = format!("{DEADLINE_MS}m").parse().expect("a header's value");
    request.metadata_mut().insert("grpc-timeout", deadline);
    let began = Instant::now();
    PredictionServiceClient::new(channel).predict(request).await.map(|_| began.elapsed())
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
        let answer = client.predict(question()).await.map(|_| began.elapsed());
        let pause = answer.as_ref().err().map(patience);
        met.add(answer);
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
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
