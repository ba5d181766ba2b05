//! How the engine behaves when something else fails: a store, a data set, a run that does not exist yet.

use std::path::{Path, PathBuf};

use super::*;
use crate::train::EarlyStopping;

/// The folder of a run, which is removed and restored.
struct HiddenFolder {
    folder: PathBuf,
    aside: PathBuf,
}

impl HiddenFolder {
    fn new(store: &Path, run: RunId, name: &str) -> Self {
        let run = store.join("runs").join(run.to_string());
        let (folder, aside) = (run.join(name), run.join("aside"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::rename(&folder, &aside).unwrap();
        std::fs::write(&folder, "in the way").unwrap();
        Self { folder, aside }
    }

    fn restore(self) {
        std::fs::remove_file(&self.folder).unwrap();
        std::fs::rename(self.aside, self.folder).unwrap();
    }
}

async fn folder() -> (Registry, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Registry::open(folder.path().to_str().unwrap()).await.unwrap(), folder)
}

#[tokio::test]
async fn a_run_whose_events_cannot_be_stored_is_stopped_and_reported_as_failed() {
    let (registry, folder) = folder().await;
    let engine = engine(&registry).await;
    let run = train(&engine, endless()).await.unwrap();
    first_batch(&engine, run).await;
    let mut watch = engine.watch(run, 1).await.unwrap();
    let hidden = HiddenFolder::new(folder.path(), run, "events");
    while !matches!(watch.next().await, Err(Error::Backend { .. })) {}
    hidden.restore();
    assert_eq!(engine.run(run).await.unwrap().state, RunState::Running);
    engine.inner.runs.recover().await.unwrap();
    assert_eq!(engine.run(run).await.unwrap().state, RunState::Failed);
    assert!(ending(&events(&engine, run).await).message.contains("the store did not accept"));
    // The trainer has stopped, so the next run gets its thread.
    let next = train(&engine, short()).await.unwrap();
    assert_eq!(ending(&events(&engine, next).await).state, RunState::Completed);
}

#[tokio::test]
async fn a_run_whose_checkpoints_cannot_be_stored_is_published_anyway() {
    let (registry, folder) = folder().await;
    let engine = engine(&registry).await;
    let checkpoint_every_epochs = 500;
    let run = train(&engine, TrainConfig { epochs: 30, checkpoint_every_epochs, ..short() }).await.unwrap();
    let _hidden = HiddenFolder::new(folder.path(), run, "checkpoints");
    let records = events(&engine, run).await;
    assert_eq!(ending(&records).state, RunState::Completed, "{:?}", ending(&records));
    assert!(!records.iter().any(|record| matches!(record.event, Event::Checkpoint(_))));
}

#[tokio::test]
async fn a_run_that_is_prepared_is_shown_and_can_be_cancelled() {
    let engine = engine(&memory().await).await;
    let starting = engine.clone();
    let starting = tokio::spawn(async move { train(&starting, endless()).await });
    // This test has one thread: the task above takes the slot in its first step.
    tokio::task::yield_now().await;
    let busy = train(&engine, short()).await;
    let Err(Error::TrainingBusy { run }) = busy else { panic!("the first run holds the slot: {busy:?}") };
    assert_eq!(engine.cancel(run).await.unwrap().state, RunState::Running);
    assert_eq!(ending(&events(&engine, run).await).state, RunState::Cancelled);
    assert_eq!(starting.await.unwrap().unwrap(), run);
}

#[tokio::test]
async fn a_supplied_image_is_inspected_where_the_data_set_is_missing() {
    let registry = memory().await;
    // The version was trained on MNIST, which is not on this machine.
    let draft = Draft { config: Some(TrainConfig::default()), ..testing::draft() };
    registry.publish(&testing::digits(), draft, weights()).await.unwrap();
    let engine = engine(&registry).await;
    let show = async |sample_images| {
        let input = InspectInput::Image(vec![0.5; 784]);
        engine.inspect(InspectJob { input, ..inspection(contents(&[], sample_images)) }).await
    };
    assert_eq!(show(0).await.unwrap().report.sample_images, Some(0));
    assert!(matches!(show(1).await, Err(Error::DatasetUnavailable { .. })));
}

#[tokio::test]
async fn a_run_that_was_killed_after_it_stopped_early_is_reported_so() {
    let registry = memory().await;
    let config = TrainConfig { early_stopping: Some(EarlyStopping::default()), ..endless() };
    let run = killed(&registry, &config).await;
    let draft = Draft { run_id: Some(run), config: Some(config.clone()), ..testing::draft() };
    registry.publish(&config.model, draft, weights()).await.unwrap();
    let engine = engine(&registry).await;
    let summary = engine.run(run).await.unwrap();
    assert_eq!((summary.state, summary.reason), (RunState::Completed, Some(FinishReason::EarlyStopped)));
    let rejected = resume(&engine, run, config, WhenBusy::Reject).await;
    assert!(matches!(rejected, Err(Error::NotResumable { reason: "RUN_COMPLETED", .. })), "{rejected:?}");
}
