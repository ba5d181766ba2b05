//! A real server in this process with a port and a store of its own, and small requests for tests.

use std::{
    net::SocketAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use digitd::{
    data::{Catalog, FetchPolicy, ImageSet, synthetic},
    engine::{BatchConfig, DeviceChoice, Engine, EngineConfig},
    pb::digitd::v1::{
        self, analysis_service_client::AnalysisServiceClient,
        prediction_service_client::PredictionServiceClient, registry_service_client::RegistryServiceClient,
        train_event::Event, training_service_client::TrainingServiceClient,
    },
    registry::Registry,
    server::{self, ServerConfig},
};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};
use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};

/// A running server; if it is dropped it ends with the runtime, and `stop` shuts it down as a signal would.
pub struct TestServer {
    pub addr: SocketAddr,
    pub http_addr: SocketAddr,
    store: Arc<TempDir>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), server::Error>>,
}

impl TestServer {
    pub async fn start() -> Self {
        Self::on(Arc::new(tempfile::tempdir().unwrap())).await
    }

    /// A server on a store that others have used.
    pub async fn on(store: Arc<TempDir>) -> Self {
        Self::with(store, |_| {}).await
    }

    /// A server that finds MNIST in these folders.
    pub async fn with_data(folders: Vec<PathBuf>) -> Self {
        let store = Arc::new(tempfile::tempdir().unwrap());
        Self::assemble(store, Catalog::new(folders, FetchPolicy::Never), |_, _| {}).await
    }

    /// A server with a custom data set.
    pub async fn with_set(name: &str, folder: &Path) -> Self {
        let sets = [(name.parse().unwrap(), folder.to_owned())].into();
        let catalog = Catalog::new(Vec::new(), FetchPolicy::Never).with_sets(sets);
        Self::assemble(Arc::new(tempfile::tempdir().unwrap()), catalog, |_, _| {}).await
    }

    pub async fn with(store: Arc<TempDir>, change: impl FnOnce(&mut ServerConfig)) -> Self {
        let catalog = Catalog::new(Vec::new(), FetchPolicy::Never);
        Self::assemble(store, catalog, |_, server| change(server)).await
    }

    /// A server that keeps this many versions of a model, in addition to those that an alias points to.
    pub async fn keeping(store: Arc<TempDir>, newest: usize) -> Self {
        let catalog = Catalog::new(Vec::new(), FetchPolicy::Never);
        Self::assemble(store, catalog, |engine, _| engine.keep_newest = NonZeroUsize::new(newest)).await
    }

    /// A server with batching settings of its own.
    pub async fn serving(store: Arc<TempDir>, change: impl FnOnce(&mut BatchConfig)) -> Self {
        let catalog = Catalog::new(Vec::new(), FetchPolicy::Never);
        Self::assemble(store, catalog, |engine, _| change(&mut engine.serving)).await
    }

    async fn assemble(
        store: Arc<TempDir>,
        catalog: Catalog,
        change: impl FnOnce(&mut EngineConfig, &mut ServerConfig),
    ) -> Self {
        let registry = Registry::open(store.path().to_str().unwrap()).await.unwrap();
        let mut engine = EngineConfig {
            device: DeviceChoice::Cpu,
            threads: 1,
            serving: BatchConfig { workers: 1, ..BatchConfig::default() },
            ..EngineConfig::default()
        };
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut config = ServerConfig { grpc_addr: any, http_addr: Some(any), ..ServerConfig::default() };
        change(&mut engine, &mut config);
        let engine = Engine::start(engine, registry, catalog).await.unwrap();
        let server = server::bind(config, engine).await.unwrap();
        let (addr, http_addr) = (server.grpc_addr(), server.http_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Self { addr, http_addr, store, stop, served }
    }

    pub fn store(&self) -> &std::path::Path {
        self.store.path()
    }

    /// Shuts the server down as a signal would, and returns its store for the next one.
    pub async fn stop(self) -> Arc<TempDir> {
        self.stop.send(()).unwrap();
        self.served.await.unwrap().unwrap();
        self.store
    }

    /// Starts the shutdown without waiting for it.
    pub fn begin_to_stop(self) -> JoinHandle<Result<(), server::Error>> {
        self.stop.send(()).unwrap();
        self.served
    }

    pub fn channel(&self) -> Channel {
        channel(self.addr)
    }

    pub fn training(&self) -> TrainingServiceClient<Channel> {
        TrainingServiceClient::new(self.channel())
    }

    pub fn analysis(&self) -> AnalysisServiceClient<Channel> {
        AnalysisServiceClient::new(self.channel())
    }

    pub fn prediction(&self) -> PredictionServiceClient<Channel> {
        PredictionServiceClient::new(self.channel())
            .max_decoding_message_size(64 << 20)
            .max_encoding_message_size(64 << 20)
    }

    pub fn registry(&self) -> RegistryServiceClient<Channel> {
        RegistryServiceClient::new(self.channel())
    }

    /// The same store for a second server.
    pub fn shared_store(&self) -> Arc<TempDir> {
        self.store.clone()
    }

    /// Trains a tiny version of `digits` to completion.
    pub async fn train(&self) -> Vec<v1::TrainEvent> {
        self.train_seeded(0).await
    }

    /// Trains the same with weights of its own.
    pub async fn train_seeded(&self, seed: i32) -> Vec<v1::TrainEvent> {
        let request = v1::TrainRequest { seed: Some(seed), ..tiny() };
        let events = collect(self.training().train(request).await.unwrap().into_inner()).await;
        assert_eq!(finished(&events).state(), v1::RunState::Completed, "{:?}", finished(&events));
        events
    }
}

/// A connection that is made on first use.
pub fn channel(addr: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{addr}")).unwrap().connect_lazy()
}

/// A run of 300 images and two epochs of six batches, with a report for every batch; it takes a fraction of a
/// second.
pub fn tiny() -> v1::TrainRequest {
    v1::TrainRequest {
        dataset: Some(synthetic_set()),
        epochs: Some(2),
        batch_size: Some(50),
        report_every_batches: Some(1),
        validation: Some(v1::Validation { size: Some(v1::validation::Size::Count(100)), every_epochs: None }),
        ..v1::TrainRequest::default()
    }
}

/// The same run, longer than any test takes; it has to be cancelled.
pub fn endless() -> v1::TrainRequest {
    v1::TrainRequest { epochs: Some(10_000), ..tiny() }
}

pub fn synthetic_set() -> v1::Dataset {
    v1::Dataset { name: "synthetic".to_owned(), seed: None, max_train_images: Some(300) }
}

/// The first test images of the built-in digits.
pub fn unseen_images(count: usize) -> ImageSet {
    synthetic::draw(0, synthetic::DigitStream::Test, 0..count)
}

/// Collects everything until the stream ends.
pub async fn collect(mut stream: Streaming<v1::TrainEvent>) -> Vec<v1::TrainEvent> {
    let mut events = Vec::new();
    while let Some(event) = next(&mut stream).await {
        events.push(event);
    }
    events
}

/// Collects the events up to the first for which `is_it` holds.
pub async fn until(
    stream: &mut Streaming<v1::TrainEvent>,
    is_it: impl Fn(&Event) -> bool,
) -> Vec<v1::TrainEvent> {
    let mut events = Vec::new();
    loop {
        let event = next(stream).await.expect("the stream goes on until then");
        let found = is_it(event.event.as_ref().unwrap());
        events.push(event);
        if found {
            return events;
        }
    }
}

async fn next(stream: &mut Streaming<v1::TrainEvent>) -> Option<v1::TrainEvent> {
    // Far longer than anything here takes: a stream that hangs fails its test, not the whole program.
    let next = tokio::time::timeout(Duration::from_secs(120), stream.message()).await;
    next.expect("the server is silent").unwrap()
}

/// The final event of a run.
pub fn finished(events: &[v1::TrainEvent]) -> &v1::RunFinished {
    match events.last().and_then(|event| event.event.as_ref()) {
        Some(Event::Finished(finished)) => finished,
        other => panic!("the last event is {other:?}"),
    }
}

pub fn run_id(events: &[v1::TrainEvent]) -> String {
    events[0].run_id.clone()
}

/// Checks that events are numbered from 1 without gaps.
pub fn check_sequence(events: &[v1::TrainEvent]) {
    let sequences: Vec<i32> = events.iter().map(|event| event.sequence).collect();
    let expected: Vec<i32> = (1..=i32::try_from(events.len()).unwrap()).collect();
    assert_eq!(sequences, expected);
}

pub fn watch(run_id: &str, after_sequence: i32) -> v1::WatchRunRequest {
    v1::WatchRunRequest { run_id: run_id.to_owned(), after_sequence }
}
