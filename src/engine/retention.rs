//! Lets go of a model's old versions, where the settings say how many stay: after every change of
//! the registry, and at times, for what was spared before and is not any more.

use std::{collections::HashSet, num::NonZeroUsize, sync::Arc, time::Duration};

use chrono::{TimeDelta, Utc};

use super::{Engine, Error, Inner};
use crate::{
    ids::{RunId, VersionRef},
    registry::Manifest,
};

/// How often is looked where nothing changed here.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// An imported version is as old before it goes: its importer may still be pointing an alias at it.
const IMPORTING: TimeDelta = TimeDelta::seconds(60);

/// Looks once, and from then on as long as the engine lives.
pub(super) async fn start(engine: &Engine, keep: NonZeroUsize) {
    let mut changes = engine.inner.registry.changes();
    look(&engine.inner, keep).await;
    let inner = Arc::downgrade(&engine.inner);
    tokio::spawn(async move {
        loop {
            // The registry lives in the engine: an error means that both are gone.
            if let Ok(Err(_)) = tokio::time::timeout(LOOK_EVERY, changes.changed()).await {
                return;
            }
            let Some(inner) = inner.upgrade() else { return };
            look(&inner, keep).await;
        }
    });
}

async fn look(inner: &Inner, keep: NonZeroUsize) {
    if let Err(error) = prune(inner, keep).await {
        tracing::warn!(%error, "old versions stay where they are");
    }
}

async fn prune(inner: &Inner, keep: NonZeroUsize) -> Result<(), Error> {
    let needed = Needed::find(inner).await?;
    for model in inner.registry.model_names().await? {
        for version in inner.registry.prune(&model, keep, |manifest| needed.holds(manifest)).await? {
            inner.models.deleted(&(model.clone(), version));
            tracing::info!(%model, %version, keep, "deleted an old version that no alias points to");
        }
    }
    Ok(())
}

/// What is under way, and would miss a version.
struct Needed {
    /// Which a run began from, or will.
    initial: HashSet<VersionRef>,
    /// Runs that have not ended: what they published may not have its alias yet.
    runs: HashSet<RunId>,
}

impl Needed {
    async fn find(inner: &Inner) -> Result<Self, Error> {
        let mut open = inner.recovery.open_runs(&inner.registry).await?;
        // Those too that are only being prepared here.
        open.extend(inner.training.held());
        let initial = open.iter().filter_map(|run| run.config.initial.clone()).collect();
        Ok(Self { initial, runs: open.iter().map(|run| run.run_id).collect() })
    }

    fn holds(&self, manifest: &Manifest) -> bool {
        let it = VersionRef { model: manifest.model.clone(), version: manifest.version };
        let is_new = manifest.imported.is_some() && Utc::now() - manifest.created < IMPORTING;
        is_new || self.initial.contains(&it) || manifest.run_id.is_some_and(|run| self.runs.contains(&run))
    }
}
