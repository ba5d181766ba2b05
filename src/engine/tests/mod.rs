//! The engine as a whole, with the built-in digits: runs, how they end, restarts, predictions.

use super::*;
use crate::{
    compute::{Device, testing::weights},
    data::{DatasetSpec, FetchPolicy, Split, ValidationSize, dataset::Dims},
    ids::{Alias, Version},
    optim::OptimizerConfig,
    registry::{AliasUpdate, AuditNote, Draft, Precondition, VersionSelector, testing},
    runs::testing::store_killed_run,
    train::{Event, FinishReason, RunFinished, RunState, TrainConfig},
};

async fn memory() -> Registry {
    Registry::open("memory:").await.unwrap()
}

async fn engine(registry: &Registry) -> Engine {
    let serving = BatchConfig { workers: 1, ..BatchConfig::default() };
    let config = EngineConfig { device: DeviceChoice::Cpu, threads: 1, serving, ..EngineConfig::default() };
    let catalog = Catalog::new(Vec::new(), FetchPolicy::Never);
    Engine::start(config, registry.clone(), catalog).await.unwrap()
}

/// A run of about a second with 4 batches per epoch.
fn short() -> TrainConfig {
    let mut config = TrainConfig {
        dataset: DatasetSpec { name: "synthetic".parse().unwrap(), seed: None, max_train_images: Some(200) },
        epochs: 2,
        batch_size: 50,
        report_every_batches: 1,
        ..TrainConfig::default()
    };
    config.validation.size = ValidationSize::Count(50);
    config
}

fn endless() -> TrainConfig {
    TrainConfig { epochs: TrainConfig::MAX_EPOCHS, ..short() }
}

/// A request that is checked first, as the server does it.
async fn checked(engine: &Engine, config: TrainConfig) -> Result<ValidTrainConfig, Error> {
    let dims = engine.dataset_info(&config.dataset.name).await?.dims;
    Ok(config.validate(dims)?)
}

async fn train(engine: &Engine, config: TrainConfig) -> Result<RunId, Error> {
    engine.train(checked(engine, config).await?).await
}

async fn begin(engine: &Engine, config: TrainConfig, when_busy: WhenBusy) -> Result<RunId, Error> {
    engine.begin(checked(engine, config).await?, when_busy).await
}

async fn resume(engine: &Engine, run: RunId, config: TrainConfig, when_busy: WhenBusy) -> Result<u32, Error> {
    engine.resume(run, checked(engine, config).await?, when_busy).await
}

async fn planned(
    engine: &Engine,
    config: TrainConfig,
    run: Option<RunId>,
) -> Result<(RunPlan, String), Error> {
    engine.plan(checked(engine, config).await?, run).await
}

async fn events(engine: &Engine, run: RunId) -> Vec<Record> {
    let mut watch = engine.watch(run, 0).await.unwrap();
    let mut records = Vec::new();
    while let Some(next) = watch.next().await.unwrap() {
        records.extend(next.iter().map(|record| (**record).clone()));
    }
    let expected = 1..=u32::try_from(records.len()).unwrap();
    assert!(records.iter().map(|record| record.sequence).eq(expected), "numbered without gaps");
    records
}

fn ending(records: &[Record]) -> &RunFinished {
    match &records.last().unwrap().event {
        Event::Finished(finished) => finished,
        other => panic!("the last event is {other:?}"),
    }
}

/// Waits until the run has reported a batch.
async fn first_batch(engine: &Engine, run: RunId) {
    let mut watch = engine.watch(run, 1).await.unwrap();
    watch.next().await.unwrap().unwrap();
}

mod evaluation;
mod faults;
mod observers;
mod predicting;
mod queue;
mod resume;
mod snapshots;

use snapshots::{contents, inspection};

async fn predict(engine: &Engine, model: &ModelRef) -> Result<PredictionBatch, Error> {
    read(engine, model, ImageBatch::Bytes(vec![0; 784].into()), None).await
}

async fn read(
    engine: &Engine,
    model: &ModelRef,
    images: ImageBatch,
    deadline: Option<Instant>,
) -> Result<PredictionBatch, Error> {
    engine.served(model, deadline).await?.predict(images, deadline).await
}

#[tokio::test]
async fn a_run_trains_and_publishes_a_version_that_predicts() {
    let engine = engine(&memory().await).await;
    assert!(*engine.ready().borrow());
    assert!(matches!(predict(&engine, &ModelRef::default()).await, Err(Error::ModelNotFound(_))));
    let config = TrainConfig { set_alias: Some(Alias::production()), ..short() };
    let run = train(&engine, config.clone()).await.unwrap();
    let records = events(&engine, run).await;
    let Event::Started(started) = &records[0].event else { panic!("{:?}", records[0]) };
    assert_eq!(started.config, config);
    assert!(started.dataset_digest.is_some() && started.validation_digest.is_some());
    let count = |of: fn(&Event) -> bool| records.iter().filter(|record| of(&record.event)).count();
    assert_eq!(count(|event| matches!(event, Event::Batch(_))), 8);
    assert_eq!(count(|event| matches!(event, Event::Epoch(_))), 2);
    assert_eq!(count(|event| matches!(event, Event::Checkpoint(_))), 2);
    let finished = ending(&records);
    assert_eq!((finished.state, finished.version), (RunState::Completed, Some(1)));
    let summary = engine.run(run).await.unwrap();
    assert_eq!((summary.state, summary.version), (RunState::Completed, Some(Version::FIRST)));
    assert_eq!(summary.best_epoch, finished.best_epoch);
    let aliases = engine.registry().aliases(&config.model).await.unwrap();
    assert_eq!(aliases, [(Alias::latest(), Version::FIRST), (Alias::production(), Version::FIRST)]);

    let manifest = engine.registry().manifest(&config.model, Version::FIRST).await.unwrap();
    assert_eq!(
        (manifest.run_id, manifest.config, manifest.total_parameters),
        (Some(run), Some(config), 20_350)
    );
    let prediction = predict(&engine, &ModelRef::default()).await.unwrap();
    assert_eq!((prediction.version, prediction.probabilities.len()), (Version::FIRST, 10));
    assert!((prediction.probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-5);
}

#[tokio::test]
async fn a_trained_version_is_evaluated_and_inspected() {
    let engine = engine(&memory().await).await;
    let run = train(&engine, short()).await.unwrap();
    events(&engine, run).await;
    let job = EvaluateJob { split: Split::Validation, batch_size: 7, ..EvaluateJob::of(ModelRef::default()) };
    let evaluated = evaluation::evaluate(&engine, job.clone()).await.unwrap();
    assert_eq!(evaluated.measures.confusion.total(), 50);
    // The validation that the run reported is the same measurement.
    let summary = engine.run(run).await.unwrap();
    let manifest = engine.registry().manifest(&evaluated.model, evaluated.version).await.unwrap();
    let best = manifest.validation.unwrap();
    assert_eq!(evaluated.measures.accuracy(), best.accuracy);
    assert!((evaluated.measures.loss - best.loss).abs() < 1e-5);
    assert_eq!(manifest.epoch, summary.best_epoch);
    let rejected = evaluation::evaluate(&engine, EvaluateJob { batch_size: 0, ..job }).await;
    assert!(matches!(rejected, Err(Error::InvalidField(invalid)) if invalid.field == "batch_size"));

    let depth = contents(&[], 20);
    let input = InspectInput::Index { dataset: None, split: Split::Train, index: 3 };
    let job = InspectJob { input, batch_size: 2, ..inspection(depth) };
    let inspection = engine.inspect(job.clone()).await.unwrap();
    assert_eq!(inspection.report.total_parameters, 20_350);
    assert_eq!((inspection.report.sample_images, inspection.report.input_shape[0]), (Some(20), 2));
    assert!(inspection.label.is_some_and(|label| label < 10));
    let input = InspectInput::Index { dataset: None, split: Split::Train, index: 200 };
    let rejected = engine.inspect(InspectJob { input, ..job.clone() }).await;
    assert!(matches!(rejected, Err(Error::InvalidField(invalid)) if invalid.field == "dataset_index.index"));
    let depth = contents(&["conv9"], 0);
    let rejected = engine.inspect(InspectJob { depth, ..job }).await;
    assert!(matches!(rejected, Err(Error::InvalidField(invalid)) if invalid.field == "layers"));
}

#[tokio::test]
async fn one_run_trains_at_a_time_and_a_cancelled_one_frees_the_slot_and_keeps_its_checkpoint() {
    let engine = engine(&memory().await).await;
    let run = train(&engine, endless()).await.unwrap();
    let busy = train(&engine, short()).await;
    assert!(matches!(busy, Err(Error::TrainingBusy { run: holder }) if holder == run), "{busy:?}");
    first_batch(&engine, run).await;
    assert_eq!(engine.cancel(run).await.unwrap().state, RunState::Running);
    let records = events(&engine, run).await;
    // A caller that has received the end can start the next run at once.
    let next = train(&engine, endless()).await.unwrap();
    assert_eq!(ending(&records).state, RunState::Cancelled);
    assert!(matches!(&records[records.len() - 2].event, Event::Checkpoint(_)));
    assert!(engine.registry().runs().checkpoint(run).await.unwrap().is_some());
    assert!(engine.registry().models().await.unwrap().is_empty());
    assert_eq!(engine.cancel(run).await.unwrap().state, RunState::Cancelled);
    engine.cancel(next).await.unwrap();
    events(&engine, next).await;
    let page = |size, before| RunPage { size, before, model: None };
    let newest = engine.runs(page(1, None)).await.unwrap();
    assert_eq!((newest.items[0].run_id, newest.more), (next, true));
    let older = engine.runs(page(5, Some(next))).await.unwrap();
    assert_eq!((older.items.len(), older.items[0].run_id, older.more), (1, run, false));
    let other = RunPage { model: Some("other".parse().unwrap()), ..page(5, None) };
    assert!(engine.runs(other).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn a_loss_that_is_no_number_fails_the_run_and_says_what_to_do() {
    let engine = engine(&memory().await).await;
    let config = TrainConfig { optimizer: OptimizerConfig::sgd(1e30), ..short() };
    let run = train(&engine, config).await.unwrap();
    let records = events(&engine, run).await;
    let finished = ending(&records);
    assert_eq!((finished.state, finished.reason), (RunState::Failed, FinishReason::NonFinite));
    assert!(finished.message.contains("epoch 1, batch 2: lower the learning rate"), "{}", finished.message);
    assert!(engine.registry().models().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_impossible_request_is_rejected_and_holds_no_slot() {
    let engine = engine(&memory().await).await;
    let rejected = train(&engine, TrainConfig { epochs: 0, ..short() }).await;
    assert!(matches!(rejected, Err(Error::InvalidField(invalid)) if invalid.field == "epochs"));
    let mut unknown = short();
    unknown.dataset.name = "letters".parse().unwrap();
    assert!(matches!(train(&engine, unknown).await, Err(Error::DatasetNotFound { .. })));
    let missing = train(&engine, TrainConfig::default()).await;
    assert!(matches!(missing, Err(Error::DatasetUnavailable { .. })), "{missing:?}");
    assert!(matches!(engine.run(RunId::new()).await, Err(Error::RunNotFound(_))));
    assert!(matches!(engine.watch(RunId::new(), 0).await, Err(Error::RunNotFound(_))));
    let run = train(&engine, short()).await.unwrap();
    assert_eq!(ending(&events(&engine, run).await).state, RunState::Completed);
}

#[tokio::test]
async fn a_panic_while_preparing_is_reported_without_its_details_and_does_not_end_the_thread() {
    let registry = memory().await;
    let catalog = Arc::new(Catalog::new(Vec::new(), FetchPolicy::Never));
    // libtorch panics on a device that does not exist.
    let config = RunsConfig { device: Device::Cuda(200), threads: 1, slots: 1, observer: None };
    let runs = RunManager::new(config, registry, catalog, Arc::new(Metrics::default())).unwrap();
    for _ in 0..2 {
        let failed = runs.start(short().validate(Dims::MNIST).unwrap(), WhenBusy::Reject).await;
        let Err(Error::Backend { message }) = failed else { panic!("{failed:?}") };
        assert_eq!(message, "preparing a run failed: the log has the details");
    }
}

#[tokio::test]
async fn a_shutdown_interrupts_the_run_and_a_restart_replays_it() {
    for (registry, _folder) in testing::stores().await {
        let first = engine(&registry).await;
        let run = train(&first, endless()).await.unwrap();
        first_batch(&first, run).await;
        first.shutdown().await;
        assert!(!*first.ready().borrow());
        assert!(matches!(train(&first, short()).await, Err(Error::Draining)));
        let records = events(&first, run).await;
        assert_eq!(ending(&records).state, RunState::Interrupted);
        assert!(registry.runs().checkpoint(run).await.unwrap().is_some());
        let summary = first.run(run).await.unwrap();
        drop(first);
        let second = engine(&registry).await;
        assert_eq!(events(&second, run).await, records);
        assert_eq!(second.run(run).await.unwrap(), summary);
    }
}

/// Leaves a run in the state in which a server that is killed after the run's first event leaves it.
async fn killed(registry: &Registry, config: &TrainConfig) -> RunId {
    let started = Event::Started(Box::new(crate::train::RunStarted {
        config: config.clone(),
        train_images: 200,
        validation_images: 50,
        batches_per_epoch: 4,
        total_parameters: 20_350,
        device: "cpu".to_owned(),
        resumed: None,
        dataset_digest: None,
        validation_digest: None,
    }));
    store_killed_run(registry, config, started).await
}

#[tokio::test]
async fn a_run_whose_server_was_killed_is_reported_as_interrupted() {
    for (registry, _folder) in testing::stores().await {
        let before = chrono::Utc::now();
        let run = killed(&registry, &short()).await;
        let engine = engine(&registry).await;
        let records = events(&engine, run).await;
        assert_eq!((records.len(), ending(&records).state), (2, RunState::Interrupted));
        assert!(ending(&records).seconds <= (records[0].time - before).as_seconds_f64());
        assert_eq!(engine.run(run).await.unwrap().state, RunState::Interrupted);
        // A second recovery changes nothing.
        engine.inner.runs.recover().await.unwrap();
        assert_eq!(events(&engine, run).await, records);
    }
}

#[tokio::test]
async fn a_run_that_was_killed_after_publishing_is_reported_as_completed() {
    for (registry, _folder) in testing::stores().await {
        let config = TrainConfig { set_alias: Some(Alias::production()), ..short() };
        let run = killed(&registry, &config).await;
        let draft = Draft { run_id: Some(run), config: Some(config.clone()), ..testing::draft() };
        registry.publish(&config.model, draft, weights()).await.unwrap();
        let engine = engine(&registry).await;
        let records = events(&engine, run).await;
        assert_eq!((ending(&records).state, ending(&records).version), (RunState::Completed, Some(1)));
        let aliases = registry.aliases(&config.model).await.unwrap();
        assert_eq!(aliases, [(Alias::latest(), Version::FIRST), (Alias::production(), Version::FIRST)]);
    }
}

#[tokio::test]
async fn a_run_of_a_live_server_is_left_alone() {
    let registry = memory().await;
    let first = engine(&registry).await;
    let run = train(&first, endless()).await.unwrap();
    let second = engine(&registry).await;
    assert_eq!(second.run(run).await.unwrap().state, RunState::Running);
    let rejected = second.cancel(run).await;
    assert!(matches!(rejected, Err(Error::RunElsewhere { run: named }) if named == run), "{rejected:?}");
    first.cancel(run).await.unwrap();
    // The watcher on the other server follows the run through the store.
    assert_eq!(ending(&events(&second, run).await).state, RunState::Cancelled);
    assert_eq!(second.cancel(run).await.unwrap().state, RunState::Cancelled, "an ended run stays as it is");
}

#[tokio::test]
async fn an_engine_that_is_dropped_ends_its_run() {
    let registry = memory().await;
    let first = engine(&registry).await;
    let run = train(&first, endless()).await.unwrap();
    let mut watch = first.watch(run, 0).await.unwrap();
    drop(first);
    let mut last = None;
    while let Some(records) = watch.next().await.unwrap() {
        last = records.last().cloned();
    }
    assert_eq!(ending(&[(*last.unwrap()).clone()]).state, RunState::Interrupted);
}
