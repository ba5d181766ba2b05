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
    // The next run gets the slot once the trainer has stopped.
    let next = begin(&engine, short(), WhenBusy::Wait).await.unwrap();
    assert_eq!(ending(&events(&engine, next).await).state, RunState::Completed);
    engine.inner.runs.recover().await.unwrap();
    assert_eq!(engine.run(run).await.unwrap().state, RunState::Failed);
    assert!(ending(&events(&engine, run).await).message.contains("the store did not accept"));
}

#[tokio::test]
async fn a_run_whose_log_fails_after_its_last_step_publishes_nothing() {
    let (registry, folder) = folder().await;
    let engine = engine(&registry).await;
    let checkpoint_every_epochs = 500;
    let run = train(&engine, TrainConfig { epochs: 30, checkpoint_every_epochs, ..short() }).await.unwrap();
    let hidden = HiddenFolder::new(folder.path(), run, "events");
    // The run takes its last step while its events are still retried. The next one gets the slot when all is over.
    let next = begin(&engine, short(), WhenBusy::Wait).await.unwrap();
    assert_eq!(ending(&events(&engine, next).await).version, Some(1), "the first run published none");
    hidden.restore();
    engine.inner.runs.recover().await.unwrap();
    let summary = engine.run(run).await.unwrap();
    assert_eq!((summary.state, summary.version), (RunState::Failed, None));
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

/// Leaves an assignment of `latest` that no server can read.
fn damage_latest(store: &Path) {
    let latest = store.join("models/digits/aliases/latest");
    std::fs::create_dir_all(&latest).unwrap();
    std::fs::write(latest.join("1.json"), "?").unwrap();
}

#[tokio::test]
async fn a_run_whose_alias_cannot_be_moved_has_published_its_version() {
    let (registry, folder) = folder().await;
    damage_latest(folder.path());
    let engine = engine(&registry).await;
    let run = train(&engine, TrainConfig { set_alias: Some(Alias::production()), ..short() }).await.unwrap();
    let records = events(&engine, run).await;
    let finished = ending(&records);
    assert_eq!((finished.state, finished.reason), (RunState::Completed, FinishReason::Completed));
    assert_eq!(finished.version, Some(1));
    let begin = "version 1 is published, but alias \"latest\" was not moved to it (models/digits/aliases/latest/1.json";
    assert!(finished.message.starts_with(begin), "{}", finished.message);
    assert!(finished.message.contains("SetAlias"), "{}", finished.message);
    let production = registry.alias(&short().model, &Alias::production()).await.unwrap();
    assert_eq!(production.version, Version::FIRST, "the other alias is moved all the same");
}

#[tokio::test]
async fn a_lost_run_whose_alias_cannot_be_moved_is_ended_with_its_version() {
    let (registry, folder) = folder().await;
    damage_latest(folder.path());
    let run = killed(&registry, &short()).await;
    let draft = Draft { run_id: Some(run), config: Some(short()), ..testing::draft() };
    registry.publish(&short().model, draft, weights()).await.unwrap();
    let engine = engine(&registry).await;
    let summary = engine.run(run).await.unwrap();
    assert_eq!((summary.state, summary.version), (RunState::Completed, Some(Version::FIRST)));
    assert!(summary.message.contains("alias \"latest\" was not moved"), "{}", summary.message);
}

#[tokio::test]
async fn a_damaged_version_of_another_run_keeps_no_lost_run_open() {
    let (registry, folder) = folder().await;
    let run = killed(&registry, &short()).await;
    registry.publish(&short().model, testing::draft(), weights()).await.unwrap();
    std::fs::write(folder.path().join("models/digits/versions/1/manifest.json"), "?").unwrap();
    let engine = engine(&registry).await;
    assert_eq!(engine.run(run).await.unwrap().state, RunState::Interrupted);
}

#[tokio::test]
async fn an_import_whose_alias_cannot_be_moved_reports_its_version() {
    let (registry, folder) = folder().await;
    damage_latest(folder.path());
    let engine = engine(&registry).await;
    let network = crate::nn::NetworkConfig::tutorial();
    let job = ImportJob {
        model: short().model,
        network,
        dims: Dims::MNIST,
        class_names: Vec::new(),
        layout: crate::checkpoint::import::Layout::default(),
        names: crate::checkpoint::import::NamePolicy::default(),
        set_alias: Some(Alias::production()),
        dataset: None,
        by: "a test".to_owned(),
    };
    let imported = engine.import(job, weights()).await.unwrap();
    assert_eq!(imported.manifest.version, Version::FIRST);
    assert_eq!(imported.unmoved.iter().map(|unmoved| &unmoved.alias).collect::<Vec<_>>(), [&Alias::latest()]);
    assert!(imported.unmoved_message().contains("SetAlias"));
    let production = registry.alias(&short().model, &Alias::production()).await.unwrap();
    assert_eq!(production.version, Version::FIRST);
}

/// Gives a file an age of two hours.
fn age(file: &Path) {
    let file = std::fs::File::options().write(true).open(file).unwrap();
    file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(7200)).unwrap();
}

#[tokio::test]
async fn the_weights_of_a_lost_manifest_stay_if_a_run_names_them_and_are_else_moved_aside() {
    let (registry, folder) = folder().await;
    let first = engine(&registry).await;
    let run = train(&first, short()).await.unwrap();
    events(&first, run).await;
    registry.publish(&short().model, testing::draft(), weights()).await.unwrap();
    drop(first);
    let model = folder.path().join("models/digits");
    std::fs::remove_dir_all(model.join("aliases")).unwrap();
    for version in ["versions/1", "versions/2"] {
        std::fs::remove_file(model.join(version).join("manifest.json")).unwrap();
        age(&model.join(version).join("weights.safetensors"));
    }
    let _second = engine(&registry).await;
    assert!(model.join("versions/1/weights.safetensors").exists(), "run {run} published it");
    assert!(!model.join("versions/2/weights.safetensors").exists());
    let aside: Vec<_> = std::fs::read_dir(model.join("orphaned")).unwrap().collect();
    let [Ok(aside)] = &aside[..] else { panic!("{aside:?}") };
    assert!(aside.path().join("weights.safetensors").exists());
}
