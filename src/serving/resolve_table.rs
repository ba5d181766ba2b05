//! What references to models mean: the versions that they resolved to, and the look-ups that are in progress.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, atomic::AtomicBool},
    time::Duration,
};

use futures::future::{BoxFuture, Shared};
use tokio::time::Instant;

use super::loaded::{LoadedVersion, ResolveStamp};
use crate::{compute::Error, registry::ModelRef};

/// How long a failed look-up is not repeated: its callers get the error.
const FAILURE: Duration = Duration::from_secs(1);

/// The largest number of look-ups that are remembered; callers may make up references without end.
const MAX_PENDING: usize = 1024;

/// What a reference resolved to when the registry was queried.
#[derive(Debug)]
pub struct ResolvedVersion {
    pub loaded: Arc<LoadedVersion>,
    pub stamp: ResolveStamp,
    pub refreshing: AtomicBool,
}

/// A look-up that is in progress, or failed lately.
#[derive(Debug, Clone)]
pub struct PendingResolve {
    pub stamp: ResolveStamp,
    pub outcome: Shared<BoxFuture<'static, Result<Arc<LoadedVersion>, Error>>>,
    failed: Option<Instant>,
}

/// The resolved references and the pending look-ups.
#[derive(Debug, Default)]
pub struct ResolveTable {
    resolved: RwLock<HashMap<ModelRef, Arc<ResolvedVersion>>>,
    pending: Mutex<HashMap<ModelRef, PendingResolve>>,
}

impl ResolvedVersion {
    pub fn new(loaded: Arc<LoadedVersion>, stamp: ResolveStamp) -> Self {
        Self { loaded, stamp, refreshing: AtomicBool::new(false) }
    }
}

impl PendingResolve {
    fn is_over(&self) -> bool {
        self.failed.is_some_and(|failed| failed.elapsed() >= FAILURE)
    }
}

impl ResolveTable {
    /// What a reference resolved to when it was last looked up.
    pub fn cached(&self, model: &ModelRef) -> Option<Arc<ResolvedVersion>> {
        self.resolved.read().unwrap_or_else(PoisonError::into_inner).get(model).cloned()
    }

    /// Stores what a reference resolved to, unless a newer result is stored.
    pub fn commit(&self, model: &ModelRef, stamp: ResolveStamp, loaded: &Arc<LoadedVersion>) {
        let mut resolved = self.resolved.write().unwrap_or_else(PoisonError::into_inner);
        if resolved.get(model).is_none_or(|cached| cached.stamp.at <= stamp.at) {
            resolved.insert(model.clone(), Arc::new(ResolvedVersion::new(loaded.clone(), stamp)));
        }
    }

    /// Removes what a reference resolved to, unless a newer result is stored.
    pub fn remove(&self, model: &ModelRef, stamp: ResolveStamp) {
        let mut resolved = self.resolved.write().unwrap_or_else(PoisonError::into_inner);
        if resolved.get(model).is_some_and(|cached| cached.stamp.at <= stamp.at) {
            resolved.remove(model);
        }
    }

    /// Removes every reference to a version.
    pub fn evict(&self, version: &Arc<LoadedVersion>) {
        let mut resolved = self.resolved.write().unwrap_or_else(PoisonError::into_inner);
        resolved.retain(|_, cached| !Arc::ptr_eq(&cached.loaded, version));
    }

    /// Joins the look-up of a reference that is in progress or failed lately, if nothing was changed here since it
    /// began; else starts one. `generation` is read under the table's lock.
    pub fn join_or_start(
        &self,
        model: &ModelRef,
        generation: impl Fn() -> u64,
        start: impl FnOnce(ResolveStamp) -> Shared<BoxFuture<'static, Result<Arc<LoadedVersion>, Error>>>,
    ) -> PendingResolve {
        let mut pending = self.pending();
        // Read before the look-up: a change in between makes its result outdated at once.
        let stamp = ResolveStamp { at: Instant::now(), generation: generation() };
        if let Some(look_up) = pending.get(model)
            && look_up.stamp.generation == stamp.generation
            && !look_up.is_over()
        {
            return look_up.clone();
        }
        if pending.len() >= MAX_PENDING {
            pending.retain(|_, look_up| !look_up.is_over());
        }
        let look_up = PendingResolve { stamp, outcome: start(stamp), failed: None };
        pending.insert(model.clone(), look_up.clone());
        look_up
    }

    /// Removes a look-up that has ended; a failed one stays for a while.
    pub fn ended(&self, model: &ModelRef, stamp: ResolveStamp, error: Option<&Error>) {
        let mut pending = self.pending();
        let full = pending.len() > MAX_PENDING;
        let Some(look_up) = pending.get_mut(model).filter(|look_up| look_up.stamp.at == stamp.at) else {
            return;
        };
        match error {
            // Callers who wait for a loading version are notified of its end at once.
            None | Some(Error::Loading) => drop(pending.remove(model)),
            Some(_) if full => drop(pending.remove(model)),
            Some(_) => look_up.failed = Some(Instant::now()),
        }
    }

    /// The number of look-ups in progress or failed lately.
    #[cfg(test)]
    pub fn pending_count(&self) -> usize {
        self.pending().len()
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<ModelRef, PendingResolve>> {
        // Inserting and removing leave the map whole, whoever panicked.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
