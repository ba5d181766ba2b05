//! Studying versions: jobs on a thread of their own, each with its own copy of the network. What the
//! jobs are is in the files beside this one and in `evaluating`.

mod about;
mod comparing;
mod inspecting;
mod sitter;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

use super::{
    Error,
    worker::{Device, JobThread, Priority, Setup},
};
use crate::{
    data::{Catalog, DatasetSpec, Split},
    registry::Registry,
};

pub(super) use about::{About, fits};
pub(super) use sitter::Sitter;

/// Analyses at once, of which one runs. Each takes about a second, so the last one waits for a quarter of a
/// minute.
const CAPACITY: usize = 16;

/// When to try again where the queue is full: about the time of one job.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(1);

/// Largest batch that a caller may ask for.
pub const MAX_BATCH_SIZE: u32 = 65_536;

/// Everything that analyses need.
#[derive(Debug)]
pub(super) struct Analysis {
    registry: Registry,
    catalog: Arc<Catalog>,
    device: Device,
    thread: JobThread,
    /// Of analyses that are looked up, wait or run: each may hold weights.
    admitted: Semaphore,
}

/// A part of a data set that an analysis reads; no data set for the network's own.
type Need = (Option<DatasetSpec>, Split);

/// Tells a job that its caller went away.
struct Caller(Arc<AtomicBool>);

impl Drop for Caller {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Analysis {
    pub fn new(
        registry: Registry,
        catalog: Arc<Catalog>,
        device: Device,
        threads: usize,
    ) -> Result<Self, Error> {
        let setup = Setup { threads, priority: Priority::Low };
        let thread = JobThread::start("digitd-analysis", setup, CAPACITY)?;
        Ok(Self { registry, catalog, device, thread, admitted: Semaphore::new(CAPACITY) })
    }

    /// Lets an analysis in, or refuses it at once, before anything is read for it.
    pub(super) fn admit(&self) -> Result<SemaphorePermit<'_>, Error> {
        let permit = self.admitted.try_acquire();
        permit.map_err(|_| Error::QueueFull { queue: "analyses", retry_after: RETRY_AFTER })
    }

    /// Does work on the analysis thread; not at all where its caller has gone by the time of its turn.
    async fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, receiver) = oneshot::channel();
        let job = move || {
            if !answer.is_closed() {
                let done = catch_unwind(AssertUnwindSafe(work));
                let done = done.unwrap_or_else(|panic| Err(Error::panicked("an analysis", &*panic)));
                // A caller that went away meanwhile needs no answer.
                let _ = answer.send(done);
            }
        };
        let submitted = self.thread.submit(job);
        submitted.map_err(|_| Error::QueueFull { queue: "analyses", retry_after: RETRY_AFTER })?;
        receiver.await.unwrap_or_else(|_| Err(Error::backend("an analysis", "its thread ended")))
    }

    /// Has the files at hand before the job is queued: a download holds up none of the others.
    /// `own` is the data set where none is asked for.
    async fn prepare(&self, own: Option<DatasetSpec>, needs: Vec<Need>) -> Result<(), Error> {
        let catalog = self.catalog.clone();
        let preparing = tokio::task::spawn_blocking(move || {
            let needs = needs.into_iter().filter_map(|(asked, split)| Some((asked.or(own.clone())?, split)));
            for (dataset, split) in needs {
                catalog.prepare(&dataset, split)?;
            }
            Ok(())
        });
        preparing.await.unwrap_or_else(|error| Err(Error::backend("reading the data set", error)))
    }
}
