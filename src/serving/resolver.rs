//! Which version a reference means: cached for a second, looked up once for all concurrent callers, and taken from the
//! cache while the store does not respond.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{self, Duration},
};

use futures::FutureExt;
use tokio::time::{Instant, timeout_at};

use super::{
    loaded::{LoadedVersion, ResolveStamp, ServedModel},
    models::LoadedModels,
    resolve_table::{PendingResolve, ResolvedVersion},
};
use crate::{
    compute::Error,
    registry::{ModelRef, VersionSelector},
};

/// How long a cached result is fresh.
const FRESH: Duration = Duration::from_secs(1);

/// How long a cached result is used while the registry is queried again.
const USABLE: Duration = Duration::from_secs(2);

/// How long callers then wait, from when the registry was queried. A store that is slower than this is treated as
/// unresponsive: the cached result is used until it responds.
const STORE_PATIENCE: Duration = Duration::from_millis(500);

/// How long callers wait when a reference moves to a version that is not loaded, from when its loading began: whoever
/// moved an alias and calls at once gets the new version. A version that loads for longer is switched to when it is
/// ready; the one before predicts meanwhile.
const SWITCH_PATIENCE: Duration = Duration::from_secs(2);

/// How long callers wait for a version if no other can predict.
const FIRST_PATIENCE: Duration = Duration::from_secs(10);

/// Removes a look-up from the pending ones, however it ended.
struct ResolveGuard {
    models: Arc<LoadedModels>,
    model: ModelRef,
    stamp: ResolveStamp,
    error: Option<Error>,
}

impl ResolveGuard {
    fn set_error(&mut self, error: Option<&Error>) {
        self.error = error.cloned();
    }
}

impl Drop for ResolveGuard {
    fn drop(&mut self) {
        self.models.resolved.ended(&self.model, self.stamp, self.error.as_ref());
    }
}

impl LoadedModels {
    /// The version that a reference means, loaded, before a deadline.
    pub async fn served(
        self: &Arc<Self>,
        model: &ModelRef,
        deadline: Option<time::Instant>,
    ) -> Result<ServedModel, Error> {
        let loaded = match deadline {
            Some(deadline) => timeout_at(deadline.into(), self.get(model)).await,
            None => Ok(self.get(model).await),
        };
        Ok(ServedModel(loaded.map_err(|_| Error::DeadlineExceeded)??))
    }

    /// The version that a reference means, loaded. A cached result is returned at once while it is young, and soon if
    /// the store does not respond.
    pub async fn get(self: &Arc<Self>, model: &ModelRef) -> Result<Arc<LoadedVersion>, Error> {
        let Some(cached) = self.cached(model) else { return self.resolve(model).outcome.await };
        let age = cached.stamp.at.elapsed();
        let changed = cached.stamp.generation != self.registry.generation();
        if !changed && age < USABLE {
            if age >= FRESH && !cached.refreshing.swap(true, Ordering::AcqRel) {
                self.resolve(model);
            }
            self.touch(&cached.loaded);
            return Ok(cached.loaded.clone());
        }
        let patience = match &model.which {
            _ if changed => SWITCH_PATIENCE,
            // A number always means the same version; it can only be deleted, which the look-up reports to the
            // next caller.
            VersionSelector::Version(_) => Duration::ZERO,
            VersionSelector::Default | VersionSelector::Alias(_) => STORE_PATIENCE,
        };
        let look_up = self.resolve(model);
        let end = look_up.stamp.at + patience;
        // The clock is checked first, since an expired timer still takes a millisecond.
        if Instant::now() < end
            && let Ok(outcome) = timeout_at(end, look_up.outcome).await
        {
            return outcome;
        }
        self.touch(&cached.loaded);
        Ok(cached.loaded.clone())
    }

    /// Looks a reference up in the registry, in a task that continues if its caller disconnects, or joins the
    /// look-up that is in progress.
    pub(super) fn resolve(self: &Arc<Self>, model: &ModelRef) -> PendingResolve {
        let start = |stamp| {
            let mut guard = ResolveGuard { models: self.clone(), model: model.clone(), stamp, error: None };
            let task = tokio::spawn(async move {
                let ResolveGuard { models, model, .. } = &guard;
                let outcome = models.cache_outcome(model, stamp, models.look_up(model, stamp).await);
                guard.set_error(outcome.as_ref().err());
                outcome
            });
            async { task.await.unwrap_or_else(|error| Err(Error::backend("looking for a model", error))) }
                .boxed()
                .shared()
        };
        self.resolved.join_or_start(model, || self.registry.generation(), start)
    }

    /// Caches the outcome of a look-up. If the store did not respond, the cached result stays in use.
    fn cache_outcome(
        &self,
        model: &ModelRef,
        stamp: ResolveStamp,
        outcome: Result<Arc<LoadedVersion>, Error>,
    ) -> Result<Arc<LoadedVersion>, Error> {
        match outcome {
            Ok(loaded) => {
                self.touch(&loaded);
                self.commit(model, stamp, &loaded);
                Ok(loaded)
            }
            Err(error @ (Error::Backend { .. } | Error::OutOfMemory { .. })) => {
                let Some(cached) = self.cached(model) else { return Err(error) };
                // Stamped with the present time, so that an unresponsive store is not queried again at once.
                self.commit(model, ResolveStamp { at: Instant::now(), ..stamp }, &cached.loaded);
                Ok(cached.loaded.clone())
            }
            Err(error) => {
                if let Error::VersionNotFound { model, version } = &error {
                    self.forget(&(model.clone(), *version));
                } else if let (Error::ModelNotFound(name), VersionSelector::Version(version)) =
                    (&error, &model.which)
                {
                    self.forget(&(name.clone(), *version));
                }
                self.resolved.remove(model, stamp);
                Err(error)
            }
        }
    }

    /// The version that a reference means, or the one that it meant before while that one loads.
    async fn look_up(
        self: &Arc<Self>,
        model: &ModelRef,
        stamp: ResolveStamp,
    ) -> Result<Arc<LoadedVersion>, Error> {
        let (name, version) = self.registry.resolve(model).await?;
        // Read even if the version is loaded: it may have been deleted.
        let manifest = self.registry.manifest(&name, version).await?;
        if let Some(loaded) = self.find(&(name, version)) {
            return Ok(loaded);
        }
        let before = self.cached(model).map(|cached| cached.loaded.clone());
        let patience = if before.is_some() { SWITCH_PATIENCE } else { FIRST_PATIENCE };
        let load = self.load(manifest, stamp);
        if let Ok(outcome) = timeout_at(load.since + patience, load.outcome.clone()).await {
            return outcome;
        }
        let before = before.ok_or(Error::Loading)?;
        let (models, model) = (self.clone(), model.clone());
        tokio::spawn(async move {
            // If it failed, the next look-up returns the error.
            if let Ok(loaded) = load.outcome.await {
                models.commit(&model, stamp, &loaded);
            }
        });
        Ok(before)
    }

    /// What a reference resolved to when it was last looked up. A loaded version is found by its number too.
    pub(super) fn cached(&self, model: &ModelRef) -> Option<Arc<ResolvedVersion>> {
        self.resolved.cached(model).or_else(|| {
            let VersionSelector::Version(version) = model.which else { return None };
            let loaded = self.find(&(model.name.clone(), version))?;
            let stamp = loaded.stamp;
            Some(Arc::new(ResolvedVersion::new(loaded, stamp)))
        })
    }
}
