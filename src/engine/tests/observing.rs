//! What an observer of a run gets to see where the run takes steps again.

use std::sync::Mutex;

use super::*;
use crate::train::Started;

/// The steps at which it got weights.
#[derive(Debug, Default)]
struct Steps(Mutex<Vec<u32>>);

impl Observer for Steps {
    fn begins(&self, _: RunId, _: &Started) {}

    fn happened(&self, _: RunId, _: chrono::DateTime<chrono::Utc>, _: &Event) {}

    fn wants_weights(&self) -> bool {
        true
    }

    fn weights(&self, _: RunId, step: u32, _: Vec<Array>) {
        self.0.lock().unwrap().push(step);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_of_an_epoch_that_is_taken_again_are_not_shown_again() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::open(folder.path().to_str().unwrap()).await.unwrap();
    let seen = Arc::new(Steps::default());
    let config = EngineConfig {
        device: DeviceChoice::Cpu,
        threads: 1,
        observer: Some(seen.clone()),
        ..EngineConfig::default()
    };
    let catalog = Catalog::new(Vec::new(), FetchPolicy::Never);
    let engine = Engine::start(config, registry.clone(), catalog).await.unwrap();
    let run = engine.train(endless()).await.unwrap();
    let mut watch = engine.watch(run, 0).await.unwrap();
    let is = |told: &[Arc<Record>], event: fn(&Event) -> bool| told.iter().any(|record| event(&record.event));
    while !is(&watch.next().await.unwrap().unwrap(), |event| matches!(event, Event::Checkpoint(_))) {}
    let (key, bytes) = registry.runs().checkpoint(run).await.unwrap().unwrap();
    // Another epoch after all that the checkpoint holds.
    let mut watch = engine.watch(run, engine.run(run).await.unwrap().last_sequence).await.unwrap();
    for _ in 0..2 {
        while !is(&watch.next().await.unwrap().unwrap(), |event| matches!(event, Event::Epoch(_))) {}
    }
    engine.cancel(run).await.unwrap();
    let told = events(&engine, run).await;
    // As after a crash: the newest checkpoint is behind the last event.
    let checkpoints = folder.path().join("runs").join(run.to_string()).join("checkpoints");
    std::fs::remove_dir_all(&checkpoints).unwrap();
    std::fs::create_dir(&checkpoints).unwrap();
    std::fs::write(checkpoints.join(key.strip_prefix("checkpoints/").unwrap()), bytes).unwrap();
    engine.resume(run, endless(), WhenBusy::Refuse).await.unwrap();
    let mut watch = engine.watch(run, told.last().unwrap().sequence).await.unwrap();
    while !is(&watch.next().await.unwrap().unwrap(), |event| matches!(event, Event::Epoch(_))) {}
    engine.cancel(run).await.unwrap();
    events(&engine, run).await;
    let steps = seen.0.lock().unwrap().clone();
    assert!(steps.is_sorted_by(|a, b| a < b), "{steps:?}");
}
