//! Runs of killed servers, for tests.

use std::sync::Arc;

use chrono::Utc;

use super::{
    lease::Lease,
    log_writer::{self, LogInit},
    recovery,
    summary::SummaryBuilder,
};
use crate::{
    compute::Metrics,
    ids::RunId,
    registry::Registry,
    train::{Event, TrainConfig},
};

/// Stores a run in the state in which a server that is killed after the run's first event leaves it.
pub async fn store_killed_run(registry: &Registry, config: &TrainConfig, first_event: Event) -> RunId {
    let run = RunId::new();
    let summary = SummaryBuilder::new(run, config.clone(), Utc::now());
    store_begun_run(registry, Arc::new(Lease::killed()), summary, first_event).await;
    run
}

/// Stores an ended run as a server with this lease leaves it once it has resumed the run and stored `first_event`.
pub async fn store_resumed_run(registry: &Registry, run: RunId, lease: Arc<Lease>, first_event: Event) {
    let runs = registry.runs();
    let state = runs.state(run).await.expect("the run is stored");
    let mut summary = recovery::read_summary(&runs, run, &state).await.expect("its events are whole");
    summary.resume(state.summary.config.clone(), Utc::now());
    store_begun_run(registry, lease, summary, first_event).await;
}

async fn store_begun_run(
    registry: &Registry,
    lease: Arc<Lease>,
    summary: SummaryBuilder,
    first_event: Event,
) {
    let init = LogInit {
        store: registry.runs(),
        lease,
        metrics: Arc::new(Metrics::default()),
        summary,
        stop: Arc::default(),
        on_end: Box::new(|| {}),
    };
    log_writer::open(init, first_event).await.expect("the store accepts the run");
}
