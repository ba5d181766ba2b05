//! Retention: deletes a model's old versions if the settings limit how many are kept. It runs after every change of the
//! registry, and periodically for versions that were needed before and are not any more.

use std::{
    collections::HashSet,
    num::NonZeroUsize,
    pin::pin,
    sync::{Arc, Weak},
    time::Duration,
};

use chrono::{TimeDelta, Utc};
use tokio::sync::watch;

use crate::{
    compute::Error,
    ids::{RunId, VersionRef},
    registry::{Manifest, Registry},
    runs::RunManager,
    serving::LoadedModels,
};

/// How often old versions are searched for if nothing changed here.
const PERIOD: Duration = Duration::from_secs(60);

/// The least age at which an imported version is deleted: its importer may still be pointing an alias at it.
const IMPORTING: TimeDelta = TimeDelta::seconds(60);

/// Deletes old versions once, and from then on until the engine is dropped, and the sender of `engine` with it.
pub async fn start(
    registry: Registry,
    runs: &Arc<RunManager>,
    models: &Arc<LoadedModels>,
    keep: NonZeroUsize,
    mut engine: watch::Receiver<bool>,
) {
    let mut changes = registry.changes();
    let retention = Retention { registry, runs: Arc::downgrade(runs), models: Arc::downgrade(models), keep };
    retention.run().await;
    tokio::spawn(async move {
        let mut ended = pin!(async move { while engine.changed().await.is_ok() {} });
        loop {
            // A deletion that has begun is finished: only the waiting ends with the engine.
            tokio::select! {
                () = &mut ended => return,
                _ = tokio::time::timeout(PERIOD, changes.changed()) => retention.run().await,
            }
        }
    });
}

struct Retention {
    registry: Registry,
    runs: Weak<RunManager>,
    models: Weak<LoadedModels>,
    keep: NonZeroUsize,
}

impl Retention {
    async fn run(&self) {
        let (Some(runs), Some(models)) = (self.runs.upgrade(), self.models.upgrade()) else { return };
        if let Err(error) = self.prune(&runs, &models).await {
            tracing::warn!(%error, "cannot delete old versions");
        }
    }

    async fn prune(&self, runs: &RunManager, models: &LoadedModels) -> Result<(), Error> {
        let (registry, keep) = (&self.registry, self.keep);
        let needed = NeededVersions::find(runs).await?;
        for model in registry.model_names().await? {
            for version in registry.prune(&model, keep, |manifest| needed.contains(manifest)).await? {
                models.forget(&(model.clone(), version));
                tracing::info!(%model, %version, keep, "deleted an old version that no alias points to");
            }
        }
        Ok(())
    }
}

/// What runs and imports that are in progress still need.
struct NeededVersions {
    /// Versions that an open run began from, or will.
    initial: HashSet<VersionRef>,
    /// Runs that have not ended: what they published may not have its alias yet.
    runs: HashSet<RunId>,
}

impl NeededVersions {
    async fn find(runs: &RunManager) -> Result<Self, Error> {
        let open = runs.open_runs().await?;
        let initial = open.iter().filter_map(|run| run.config.initial.clone()).collect();
        Ok(Self { initial, runs: open.iter().map(|run| run.run_id).collect() })
    }

    fn contains(&self, manifest: &Manifest) -> bool {
        let version = VersionRef { model: manifest.model.clone(), version: manifest.version };
        let is_new = manifest.imported.is_some() && Utc::now() - manifest.created < IMPORTING;
        is_new
            || self.initial.contains(&version)
            || manifest.run_id.is_some_and(|run| self.runs.contains(&run))
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Handle;

    use super::*;
    use crate::{
        compute::{Device, Metrics},
        data::{Catalog, FetchPolicy},
        runs::RunsConfig,
        serving::BatchConfig,
    };

    #[tokio::test]
    async fn the_task_ends_with_its_engine() {
        let registry = Registry::open("memory:").await.unwrap();
        let (catalog, metrics) = (Catalog::new(Vec::new(), FetchPolicy::Never), Arc::new(Metrics::default()));
        let config = RunsConfig { device: Device::Cpu, threads: 1, slots: 1, observer: None };
        let runs = RunManager::new(config, registry.clone(), Arc::new(catalog), metrics.clone()).unwrap();
        let models = LoadedModels::new(registry.clone(), Device::Cpu, BatchConfig::default(), metrics);
        let (runs, models, engine) = (Arc::new(runs), Arc::new(models), watch::Sender::new(true));
        let before = Handle::current().metrics().num_alive_tasks();
        start(registry, &runs, &models, NonZeroUsize::MIN, engine.subscribe()).await;
        engine.send_replace(false);
        tokio::task::yield_now().await;
        assert_eq!(
            Handle::current().metrics().num_alive_tasks(),
            before + 1,
            "it goes on while the engine drains"
        );
        drop(engine);
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        assert_eq!(Handle::current().metrics().num_alive_tasks(), before);
    }
}
