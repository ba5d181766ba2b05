//! Runs that are resumed after they ended, and what remains of runs that failed.

use super::*;
use crate::{
    optim::{Schedule, ScheduleShape},
    train::TrainingProgress,
};

/// The digest of a version's weights.
async fn digest(registry: &Registry, version: i64) -> String {
    let manifest = registry.manifest(&short().model, version.try_into().unwrap()).await;
    manifest.unwrap().weights_sha256
}

#[tokio::test]
async fn a_run_that_was_killed_before_its_first_checkpoint_resumes_from_its_first_step() {
    let registry = memory().await;
    let run = killed(&registry, &short()).await;
    let engine = engine(&registry).await;
    let more = TrainConfig { epochs: 3, ..short() };
    let rejected = resume(&engine, run, more, WhenBusy::Reject).await;
    assert!(
        matches!(rejected, Err(Error::NotResumable { reason: "CHECKPOINT_MISSING", .. })),
        "{rejected:?}"
    );
    resume(&engine, run, short(), WhenBusy::Reject).await.unwrap();
    let records = events(&engine, run).await;
    assert!(
        matches!(&records[2].event, Event::Started(started) if started.resumed == Some(TrainingProgress::default()))
    );
    assert_eq!((ending(&records).state, ending(&records).version), (RunState::Completed, Some(1)));
    let whole = train(&engine, short()).await.unwrap();
    events(&engine, whole).await;
    assert_eq!(digest(&registry, 1).await, digest(&registry, 2).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_resumes_to_the_same_weights_on_two_threads_too() {
    let registry = memory().await;
    let config = EngineConfig { device: DeviceChoice::Cpu, threads: 2, ..EngineConfig::default() };
    let catalog = Catalog::new(Vec::new(), FetchPolicy::Never);
    let engine = Engine::start(config, registry.clone(), catalog).await.unwrap();
    let config = TrainConfig { epochs: 40, ..short() };
    let whole = train(&engine, config.clone()).await.unwrap();
    events(&engine, whole).await;
    let run = train(&engine, config.clone()).await.unwrap();
    first_batch(&engine, run).await;
    engine.cancel(run).await.unwrap();
    assert_eq!(ending(&events(&engine, run).await).state, RunState::Cancelled);
    resume(&engine, run, config, WhenBusy::Reject).await.unwrap();
    assert_eq!(ending(&events(&engine, run).await).version, Some(2));
    assert_eq!(digest(&registry, 1).await, digest(&registry, 2).await);
}

#[tokio::test]
async fn a_run_that_diverges_keeps_its_last_checkpoint_and_publishes_nothing() {
    let registry = memory().await;
    let engine = engine(&registry).await;
    // Decay halves the weights at every step of the first epoch, and makes them diverge in the second.
    let shape = ScheduleShape::Step { every_epochs: 1, factor: 1e6 };
    let optimizer = OptimizerConfig::sgd(1e-6);
    let mut config = TrainConfig { optimizer, schedule: Schedule { shape, warmup_steps: 0 }, ..short() };
    config.regularization.global.l2 = 5e5;
    let run = train(&engine, config.clone()).await.unwrap();
    let records = events(&engine, run).await;
    assert_eq!(ending(&records).reason, FinishReason::NonFinite, "{:?}", ending(&records));
    let kept = records.iter().filter(|record| matches!(record.event, Event::Checkpoint(_))).count();
    let (key, _) = registry.runs().checkpoint(run).await.unwrap().unwrap();
    assert_eq!((kept, key.as_str()), (1, "checkpoints/0000000004.safetensors"));
    assert!(registry.models().await.unwrap().is_empty());
    let rejected = resume(&engine, run, config, WhenBusy::Reject).await;
    assert!(matches!(rejected, Err(Error::NotResumable { reason: "RUN_NON_FINITE", .. })), "{rejected:?}");
}
