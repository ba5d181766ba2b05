//! What a reference means: remembered for a second, asked for once however many want to know, and
//! answered from memory while the store is silent.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{self, Duration},
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tokio::time::{Instant, timeout_at};

use super::{Loaded, Models};
use crate::{
    engine::Error,
    registry::{ModelRef, Which},
};

/// For so long a reference means what it meant when the registry was asked last.
const FRESH: Duration = Duration::from_secs(1);

/// For so long callers are answered by what it meant while the registry is asked again.
const USABLE: Duration = Duration::from_secs(2);

/// For so long, from when the registry was asked, they wait after that. A store that is slower than
/// this is taken for silent: what the reference meant answers until it speaks.
const STORE_PATIENCE: Duration = Duration::from_millis(500);

/// Where a reference moves to a version that is not loaded, callers wait for it for so long after
/// its loading began: whoever moved it and asks at once gets the new version. A version that
/// loads for longer is switched to when it is there; the one before answers meanwhile.
const SWITCH_PATIENCE: Duration = Duration::from_secs(2);

/// For so long callers wait for a version where nothing else can answer them.
const FIRST_PATIENCE: Duration = Duration::from_secs(10);

/// For so long a failed look-up is not made again: its callers hear why it failed.
const FAILURE: Duration = Duration::from_secs(1);

/// Look-ups that are remembered; callers may make up references without end.
const MOST_LOOKS: usize = 1024;

/// When the registry was asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    at: Instant,
    /// The registry's own changes until then.
    generation: u64,
}

/// What a reference meant when the registry was asked.
#[derive(Debug)]
pub(super) struct Resolved {
    pub loaded: Arc<Loaded>,
    asked: Asked,
    refreshing: AtomicBool,
}

/// The look-ups under way, and those that failed lately.
#[derive(Debug, Default)]
pub(super) struct Looks(Mutex<HashMap<ModelRef, Look>>);

#[derive(Debug, Clone)]
pub(super) struct Look {
    pub asked: Asked,
    pub outcome: Shared<BoxFuture<'static, Result<Arc<Loaded>, Error>>>,
    failed: Option<Instant>,
}

/// Takes a look-up off the list of those under way, however it ended.
struct Ending {
    models: Arc<Models>,
    model: ModelRef,
    asked: Asked,
    error: Option<Error>,
}

impl Ending {
    fn failed(&mut self, error: Option<&Error>) {
        self.error = error.cloned();
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.models.looks.ended(&self.model, self.asked, self.error.as_ref());
    }
}

impl Look {
    fn is_over(&self) -> bool {
        self.failed.is_some_and(|failed| failed.elapsed() >= FAILURE)
    }
}

impl Looks {
    fn lock(&self) -> MutexGuard<'_, HashMap<ModelRef, Look>> {
        // Inserting and removing leave the map whole, whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Takes a look-up off the list; one that failed stays for a while.
    fn ended(&self, model: &ModelRef, asked: Asked, error: Option<&Error>) {
        let mut looks = self.lock();
        let full = looks.len() > MOST_LOOKS;
        let Some(look) = looks.get_mut(model).filter(|look| look.asked.at == asked.at) else { return };
        match error {
            // Who asks while a version loads hears of its end at once.
            None | Some(Error::Loading) => drop(looks.remove(model)),
            Some(_) if full => drop(looks.remove(model)),
            Some(_) => look.failed = Some(Instant::now()),
        }
    }
}

impl Models {
    /// The version that a reference means, loaded. What is known of it answers at once while it is
    /// young, and soon where the store does not answer.
    pub async fn get(self: &Arc<Self>, model: &ModelRef) -> Result<Arc<Loaded>, Error> {
        let Some(known) = self.known(model) else { return self.look(model).outcome.await };
        let age = known.asked.at.elapsed();
        let changed = known.asked.generation != self.registry.generation();
        if !changed && age < USABLE {
            if age >= FRESH && !known.refreshing.swap(true, Ordering::AcqRel) {
                self.look(model);
            }
            self.touch(&known.loaded);
            return Ok(known.loaded.clone());
        }
        let patience = match &model.which {
            _ if changed => SWITCH_PATIENCE,
            // It cannot have become another; only deleted, of which the look-up tells the next caller.
            Which::Version(_) => Duration::ZERO,
            Which::Default | Which::Alias(_) => STORE_PATIENCE,
        };
        let look = self.look(model);
        let end = look.asked.at + patience;
        // The clock first: a timer that is over already still takes its millisecond.
        if Instant::now() < end
            && let Ok(outcome) = timeout_at(end, look.outcome).await
        {
            return outcome;
        }
        self.touch(&known.loaded);
        Ok(known.loaded.clone())
    }

    /// The same before a deadline.
    pub async fn get_before(
        self: &Arc<Self>,
        model: &ModelRef,
        deadline: Option<time::Instant>,
    ) -> Result<Arc<Loaded>, Error> {
        match deadline {
            Some(deadline) => timeout_at(deadline.into(), self.get(model)).await,
            None => Ok(self.get(model).await),
        }
        .map_err(|_| Error::DeadlineExceeded)?
    }

    /// Asks the registry what a reference means, in a task of its own, which a caller that goes away
    /// leaves as it is; joins the one that does so already, if nothing was changed here since.
    pub(super) fn look(self: &Arc<Self>, model: &ModelRef) -> Look {
        let mut looks = self.looks.lock();
        // Before the question: a change in between makes the answer old at once.
        let asked = Asked { at: Instant::now(), generation: self.registry.generation() };
        if let Some(look) = looks.get(model)
            && look.asked.generation == asked.generation
            && !look.is_over()
        {
            return look.clone();
        }
        if looks.len() >= MOST_LOOKS {
            looks.retain(|_, look| !look.is_over());
        }
        let mut ending = Ending { models: self.clone(), model: model.clone(), asked, error: None };
        let task = tokio::spawn(async move {
            let Ending { models, model, .. } = &ending;
            let outcome = models.settle(model, asked, models.look_up(model, asked).await);
            ending.failed(outcome.as_ref().err());
            outcome
        });
        let outcome =
            async { task.await.unwrap_or_else(|error| Err(Error::backend("looking for a model", error))) };
        let look = Look { asked, outcome: outcome.boxed().shared(), failed: None };
        looks.insert(model.clone(), look.clone());
        look
    }

    /// Remembers what a look-up found. Where the store did not answer, what the reference meant before
    /// goes on answering.
    fn settle(
        &self,
        model: &ModelRef,
        asked: Asked,
        outcome: Result<Arc<Loaded>, Error>,
    ) -> Result<Arc<Loaded>, Error> {
        match outcome {
            Ok(loaded) => {
                self.touch(&loaded);
                self.remember(model, asked, &loaded);
                Ok(loaded)
            }
            Err(error @ (Error::Backend { .. } | Error::OutOfMemory { .. })) => {
                let Some(known) = self.known(model) else { return Err(error) };
                // From now on, not from the question: a store that is silent is not asked at once again.
                self.remember(model, Asked { at: Instant::now(), ..asked }, &known.loaded);
                Ok(known.loaded.clone())
            }
            Err(error) => {
                if let Error::VersionNotFound { model, version } = &error {
                    self.deleted(&(model.clone(), *version));
                } else if let (Error::ModelNotFound(name), Which::Version(version)) = (&error, &model.which) {
                    self.deleted(&(name.clone(), *version));
                }
                let mut resolved = self.resolved.write().unwrap_or_else(PoisonError::into_inner);
                if resolved.get(model).is_some_and(|known| known.asked.at <= asked.at) {
                    resolved.remove(model);
                }
                Err(error)
            }
        }
    }

    /// The version that a reference means, or the one that it meant before while that one loads.
    async fn look_up(self: &Arc<Self>, model: &ModelRef, asked: Asked) -> Result<Arc<Loaded>, Error> {
        let (name, version) = self.registry.resolve(model).await?;
        // Read even where the version is loaded: it may have been deleted.
        let manifest = self.registry.manifest(&name, version).await?;
        if let Some(loaded) = self.find(&(name, version)) {
            return Ok(loaded);
        }
        let before = self.known(model).map(|known| known.loaded.clone());
        let patience = if before.is_some() { SWITCH_PATIENCE } else { FIRST_PATIENCE };
        let load = self.load(manifest, asked);
        if let Ok(outcome) = timeout_at(load.since + patience, load.outcome.clone()).await {
            return outcome;
        }
        let before = before.ok_or(Error::Loading)?;
        let (models, model) = (self.clone(), model.clone());
        tokio::spawn(async move {
            // Why it failed, the next look-up tells.
            if let Ok(loaded) = load.outcome.await {
                models.remember(&model, asked, &loaded);
            }
        });
        Ok(before)
    }

    /// Keeps an answer that is not older than the one that is kept, unless its version was let go.
    pub(super) fn remember(&self, model: &ModelRef, asked: Asked, loaded: &Arc<Loaded>) {
        let key = (loaded.manifest.model.clone(), loaded.manifest.version);
        let all = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        if !all.get(&key).is_some_and(|kept| Arc::ptr_eq(kept, loaded)) {
            return;
        }
        let mut resolved = self.resolved.write().unwrap_or_else(PoisonError::into_inner);
        if resolved.get(model).is_none_or(|known| known.asked.at <= asked.at) {
            let refreshing = AtomicBool::new(false);
            let now = Resolved { loaded: loaded.clone(), asked, refreshing };
            resolved.insert(model.clone(), Arc::new(now));
        }
    }

    /// What a reference meant when it was last asked for. A version that is loaded is known by its number
    /// too.
    pub(super) fn known(&self, model: &ModelRef) -> Option<Arc<Resolved>> {
        let known = self.resolved.read().unwrap_or_else(PoisonError::into_inner).get(model).cloned();
        known.or_else(|| {
            let Which::Version(version) = model.which else { return None };
            let loaded = self.find(&(model.name.clone(), version))?;
            let (asked, refreshing) = (loaded.asked, AtomicBool::new(false));
            Some(Arc::new(Resolved { loaded, asked, refreshing }))
        })
    }

    /// Lets no reference mean a version any more that was let go; called under `loaded`.
    pub(super) fn unresolve(&self, old: &Arc<Loaded>) {
        let mut resolved = self.resolved.write().unwrap_or_else(PoisonError::into_inner);
        resolved.retain(|_, known| !Arc::ptr_eq(&known.loaded, old));
    }
}
