//! The first model: from when one is loaded the server can predict, and never again cannot.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::timeout;

use super::{Error, Inner};
use crate::{
    ids::ModelName,
    registry::{ModelRef, Which},
};

/// How soon a version is seen that another server on the store published.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// When to try again to load models none of which could be loaded.
const RETRY: Duration = Duration::from_secs(30);

/// Loads the default model, or any other where there is none, as soon as there is one; where there is
/// one already before it returns, so that the first prediction does not wait. What cannot be loaded
/// stops no server: training goes on, and whoever predicts is told.
pub(super) async fn start(inner: &Arc<Inner>) {
    let outcome = load(inner).await;
    if !inner.predicts.borrow().to_owned() {
        tokio::spawn(keep_looking(Arc::downgrade(inner), outcome));
    }
}

/// What was found in the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    /// Models of which none could be loaded, or a store that does not answer.
    Unusable,
}

async fn keep_looking(inner: Weak<Inner>, mut found: Found) {
    loop {
        let Some(engine) = inner.upgrade() else { return };
        let mut changes = engine.registry.changes();
        drop(engine);
        let patience = if found == Found::Nothing { LOOK_EVERY } else { RETRY };
        // Either way it is time to look.
        let _ = timeout(patience, changes.changed()).await;
        let Some(engine) = inner.upgrade() else { return };
        found = load(&engine).await;
        if *engine.predicts.borrow() {
            return;
        }
    }
}

async fn load(inner: &Arc<Inner>) -> Found {
    if inner.models.are_any_loaded() {
        inner.predicts.send_replace(true);
    }
    let names = match inner.registry.model_names().await {
        Ok(names) => names,
        Err(error) => {
            tracing::warn!(%error, "cannot look for models");
            return Found::Unusable;
        }
    };
    let mut found = Found::Nothing;
    let default = ModelName::default();
    let others = names.iter().filter(|name| **name != default);
    for name in std::iter::once(&default).chain(others) {
        let model = ModelRef { name: name.clone(), which: Which::Default };
        match inner.models.get(&model).await {
            Ok(_) => {
                inner.predicts.send_replace(true);
                return found;
            }
            Err(Error::ModelNotFound(_)) => {}
            Err(Error::Loading) => tracing::info!(model = %name, "still being loaded"),
            Err(error) => {
                tracing::warn!(%error, model = %name, "cannot be loaded");
                found = Found::Unusable;
            }
        }
    }
    found
}
