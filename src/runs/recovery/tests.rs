//! Recovery beside other servers that resume, end and lose the same run.

use std::sync::Arc;

use super::*;
use crate::{
    compute::{Device, Metrics},
    data::{Catalog, FetchPolicy},
    registry::Registry,
    runs::{
        RunsConfig,
        lease::Lease,
        resume,
        testing::{store_killed_run, store_resumed_run},
    },
    train::{RunStarted, TrainConfig, TrainingProgress},
};

fn started(resumed: Option<TrainingProgress>) -> Event {
    Event::Started(Box::new(RunStarted {
        config: TrainConfig::default(),
        train_images: 200,
        validation_images: 50,
        batches_per_epoch: 4,
        total_parameters: 20_350,
        device: "cpu".to_owned(),
        resumed,
        dataset_digest: None,
        validation_digest: None,
    }))
}

fn resumed() -> Event {
    started(Some(TrainingProgress::default()))
}

fn context(registry: &Registry) -> RunContext {
    let config = RunsConfig { device: Device::Cpu, threads: 1, slots: 1, observer: None };
    let catalog = Arc::new(Catalog::new(Vec::new(), FetchPolicy::Never));
    RunContext::new(config, registry.clone(), catalog, Arc::new(Metrics::default())).unwrap()
}

async fn killed(registry: &Registry) -> RunId {
    store_killed_run(registry, &TrainConfig::default(), started(None)).await
}

async fn state(registry: &Registry, run: RunId) -> RunState {
    registry.runs().state::<StoredState>(run).await.unwrap().summary.state
}

async fn pass(milliseconds: u64) {
    // The paused clock advances by itself.
    let time = std::time::Duration::from_millis(milliseconds);
    let _ = tokio::time::timeout(time, std::future::pending::<()>()).await;
}

#[tokio::test]
async fn a_run_that_is_resumed_elsewhere_and_killed_there_is_ended_again() {
    let registry = Registry::open("memory:").await.unwrap();
    let (context, recovery) = (context(&registry), Recovery::default());
    let run = killed(&registry).await;
    for _ in 0..2 {
        recovery.recover_all(&context).await.unwrap();
    }
    assert_eq!(state(&registry, run).await, RunState::Interrupted);
    assert!(recovery.unfinished(&registry).await.unwrap().is_empty(), "it is not examined again");
    store_resumed_run(&registry, run, Arc::new(Lease::killed()), resumed()).await;
    assert_eq!(recovery.open_runs(&registry).await.unwrap().len(), 1);
    recovery.recover_all(&context).await.unwrap();
    assert_eq!(state(&registry, run).await, RunState::Interrupted);
}

/// One server is slow; the other ends the run and resumes it, beginning at every moment in between.
#[tokio::test(start_paused = true)]
async fn a_recovery_that_overlaps_a_resume_leaves_the_resumed_run_alone() {
    for begin in 0..40 {
        let registry = Registry::open("memory:").await.unwrap();
        let run = killed(&registry).await;
        let slow = context(&registry.clone().slowed(std::time::Duration::from_millis(5)));
        let fast = context(&registry);
        let lease = Arc::new(Lease::new());
        let server = lease.server().clone();
        let resuming = async {
            pass(begin).await;
            recover_run(&fast, run).await.unwrap();
            store_resumed_run(&registry, run, lease.clone(), resumed()).await;
        };
        let (recovered, ()) = tokio::join!(recover_run(&slow, run), resuming);
        recovered.unwrap();
        let state: StoredState = registry.runs().state(run).await.unwrap();
        assert_eq!((state.summary.state, &state.server), (RunState::Running, &server), "begun at {begin} ms");
        let logged = read_summary(&registry.runs(), run, &state).await.unwrap();
        assert_eq!((logged.summary().state, logged.summary().last_sequence), (RunState::Running, 3));
    }
}

#[tokio::test]
async fn an_unreadable_chunk_stays_and_the_end_is_appended_after_it() {
    let registry = Registry::open("memory:").await.unwrap();
    let run = killed(&registry).await;
    registry.runs().put_events(run, 2, b"?\n".to_vec()).await.unwrap();
    recover_run(&context(&registry), run).await.unwrap();
    assert_eq!(state(&registry, run).await, RunState::Interrupted);
    assert_eq!(registry.runs().chunks(run).await.unwrap(), [1, 2, 3]);
}

#[tokio::test]
async fn a_run_that_another_server_resumes_at_this_moment_is_not_resumed() {
    let registry = Registry::open("memory:").await.unwrap();
    let (context, run) = (context(&registry), killed(&registry).await);
    recover_run(&context, run).await.unwrap();
    // The other server has stored its first event, and is about to write the state.
    let mut line = Vec::new();
    event_chunk::encode(&Record { sequence: 3, time: Utc::now(), event: resumed() }, &mut line);
    registry.runs().append_events(run, 3, line).await.unwrap();
    let rejected = resume::find(&context, run, &TrainConfig::default()).await.err();
    assert!(matches!(rejected, Some(Error::NotResumable { reason: "RUN_NOT_ENDED", .. })), "{rejected:?}");
}

#[tokio::test]
async fn a_remote_server_is_judged_by_the_clock_of_the_store() {
    let registry = Registry::open("memory:").await.unwrap();
    let run = killed(&registry).await;
    // Its clock is an hour behind, and it has just written the state.
    let state: StoredState = registry.runs().state(run).await.unwrap();
    let refreshed = Utc::now() - chrono::TimeDelta::hours(1);
    let state = StoredState { server: state.server.elsewhere(), refreshed, ..state };
    registry.runs().put_state(run, &state).await.unwrap();
    assert!(matches!(recover_run(&context(&registry), run).await.unwrap(), RecoveryOutcome::Open));
    assert_eq!(self::state(&registry, run).await, RunState::Running);
}
