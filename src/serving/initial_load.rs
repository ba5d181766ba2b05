//! The first model: once one is loaded the server can predict, and stays so.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::timeout;

use super::models::LoadedModels;
use crate::{
    compute::Error,
    ids::ModelName,
    registry::{ModelRef, VersionSelector},
};

/// How often the registry is polled for a version that another server on the store published.
const POLL: Duration = Duration::from_secs(1);

/// When to retry if none of the models could be loaded.
const RETRY: Duration = Duration::from_secs(30);

/// What a search for a model that can be loaded found, other than one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LoadOutcome {
    /// A model was loaded.
    Loaded,
    NoModel,
    /// None of the models could be loaded, or the store does not respond.
    Unusable,
}

/// Loads the default model, or any other if there is none, as soon as there is one; if there is one already, before
/// this returns, so that the first prediction does not wait. A model that cannot be loaded stops no server: training
/// continues, and callers of predictions get the error.
pub async fn start(models: &Arc<LoadedModels>) {
    let outcome = load(models).await;
    if outcome != LoadOutcome::Loaded {
        tokio::spawn(keep_trying(Arc::downgrade(models), outcome));
    }
}

async fn keep_trying(models: Weak<LoadedModels>, mut outcome: LoadOutcome) {
    while outcome != LoadOutcome::Loaded {
        let Some(alive) = models.upgrade() else { return };
        let mut changes = alive.registry.changes();
        drop(alive);
        let patience = if outcome == LoadOutcome::NoModel { POLL } else { RETRY };
        // Either way it is time to look again.
        let _ = timeout(patience, changes.changed()).await;
        let Some(alive) = models.upgrade() else { return };
        outcome = load(&alive).await;
    }
}

async fn load(models: &Arc<LoadedModels>) -> LoadOutcome {
    if models.are_any_loaded() {
        models.set_can_predict();
        return LoadOutcome::Loaded;
    }
    let names = match models.registry.model_names().await {
        Ok(names) => names,
        Err(error) => {
            tracing::warn!(%error, "cannot list the models");
            return LoadOutcome::Unusable;
        }
    };
    let mut outcome = LoadOutcome::NoModel;
    let default = ModelName::default();
    let others = names.iter().filter(|name| **name != default);
    for name in std::iter::once(&default).chain(others) {
        let model = ModelRef { name: name.clone(), which: VersionSelector::Default };
        match models.get(&model).await {
            Ok(_) => {
                models.set_can_predict();
                return LoadOutcome::Loaded;
            }
            Err(Error::ModelNotFound(_)) => {}
            Err(Error::Loading) => tracing::info!(model = %name, "still being loaded"),
            Err(error) => {
                tracing::warn!(%error, model = %name, "cannot be loaded");
                outcome = LoadOutcome::Unusable;
            }
        }
    }
    outcome
}
