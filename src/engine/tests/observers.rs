//! What an observer of a run receives if the run repeats steps.

use std::sync::Mutex;

use super::*;
use crate::train::RunStarted;

/// The steps for which it received weights.
#[derive(Debug, Default)]
struct ObservedSteps(Mutex<Vec<u32>>);

impl Observer for ObservedSteps {
    fn started(&self, _: RunId, _: &RunStarted) {}

    fn event(&self, _: RunId, _: chrono::DateTime<chrono::Utc>, _: &Event) {}

    fn wants_weights(&self) -> bool {
        true
    }

    fn weights(&self, _: RunId, step: u32, _: Vec<Array>) {
        self.0.lock().unwrap().push(step);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_of_an_epoch_that_is_repeated_are_not_observed_again() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::open(folder.path().to_str().unwrap()).await.unwrap();
    let observed = Arc::new(ObservedSteps::default());
    let config = EngineConfig {
        device: DeviceChoice::Cpu,
        threads: 1,
        observer: Some(observed.clone()),
        ..EngineConfig::default()
    };
    let catalog = Catalog::new(Vec::new(), FetchPolicy::Never);
    let engine = Engine::start(config, registry.clone(), catalog).await.unwrap();
    let run = train(&engine, endless()).await.unwrap();
    let mut watch = engine.watch(run, 0).await.unwrap();
    let is = |records: &[Arc<Record>], event: fn(&Event) -> bool| {
        records.iter().any(|record| event(&record.event))
    };
    while !is(&watch.next().await.unwrap().unwrap(), |event| matches!(event, Event::Checkpoint(_))) {}
    let (key, bytes) = registry.runs().checkpoint(run).await.unwrap().unwrap();
    // The run has another epoch after the checkpoint.
    let mut watch = engine.watch(run, engine.run(run).await.unwrap().last_sequence).await.unwrap();
    for _ in 0..2 {
        while !is(&watch.next().await.unwrap().unwrap(), |event| matches!(event, Event::Epoch(_))) {}
    }
    engine.cancel(run).await.unwrap();
    let records = events(&engine, run).await;
    // As after a crash, the latest checkpoint is older than the last event.
    let checkpoints = folder.path().join("runs").join(run.to_string()).join("checkpoints");
    std::fs::remove_dir_all(&checkpoints).unwrap();
    std::fs::create_dir(&checkpoints).unwrap();
    std::fs::write(checkpoints.join(key.strip_prefix("checkpoints/").unwrap()), bytes).unwrap();
    resume(&engine, run, endless(), WhenBusy::Reject).await.unwrap();
    let mut watch = engine.watch(run, records.last().unwrap().sequence).await.unwrap();
    while !is(&watch.next().await.unwrap().unwrap(), |event| matches!(event, Event::Epoch(_))) {}
    engine.cancel(run).await.unwrap();
    events(&engine, run).await;
    let steps = observed.0.lock().unwrap().clone();
    assert!(steps.is_sorted_by(|a, b| a < b), "{steps:?}");
}
