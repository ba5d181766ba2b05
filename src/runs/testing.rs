//! Runs of killed servers, for tests.

use std::sync::Arc;

use chrono::Utc;

use super::{
    lease::Lease,
    log_writer::{self, LogInit},
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
    let init = LogInit {
        store: registry.runs(),
        lease: Arc::new(Lease::killed()),
        metrics: Arc::new(Metrics::default()),
        summary: SummaryBuilder::new(run, config.clone(), Utc::now()),
        stop: Arc::default(),
        on_end: Box::new(|| {}),
    };
    log_writer::open(init, first_event).await.expect("the store accepts the run");
    run
}
