//! The analysis thread: jobs wait for it in a bounded queue, and each works on its own copy of a network.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

use crate::{
    compute::{Device, Error, JobThread, Priority, ThreadSettings},
    data::{Catalog, DatasetSpec, Split},
    registry::Registry,
};

/// The largest number of analyses at once, of which one runs. Each takes about a second, so the last one waits for a
/// quarter of a minute.
const CAPACITY: usize = 16;

/// When to try again if the queue is full: about the time of one job.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(1);

/// The largest batch size that a caller may ask for.
pub const MAX_BATCH_SIZE: u32 = 65_536;

/// Everything that analyses need.
#[derive(Debug)]
pub struct Analysis {
    pub(super) registry: Registry,
    pub(super) catalog: Arc<Catalog>,
    pub(super) device: Device,
    thread: JobThread,
    /// Limits the analyses that are looked up, wait or run, because each may hold weights.
    admitted: Semaphore,
}

/// A part of a data set that an analysis reads; by default of the network's own data set.
pub type SplitRequest = (Option<DatasetSpec>, Split);

impl Analysis {
    pub fn new(
        registry: Registry,
        catalog: Arc<Catalog>,
        device: Device,
        threads: usize,
    ) -> Result<Self, Error> {
        let setup = ThreadSettings { threads, priority: Priority::Low };
        let thread = JobThread::start("digitd-analysis", setup, CAPACITY)?;
        Ok(Self { registry, catalog, device, thread, admitted: Semaphore::new(CAPACITY) })
    }

    /// Admits an analysis, or rejects it at once, before anything is read for it.
    pub(super) fn admit(&self) -> Result<SemaphorePermit<'_>, Error> {
        let permit = self.admitted.try_acquire();
        permit.map_err(|_| Error::QueueFull { queue: "analyses", retry_after: RETRY_AFTER })
    }

    /// Does work on the analysis thread, unless its caller has disconnected by the time of its turn.
    pub(super) async fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (sender, receiver) = oneshot::channel();
        let job = move || {
            if !sender.is_closed() {
                let done = catch_unwind(AssertUnwindSafe(work));
                let done = done.unwrap_or_else(|panic| Err(Error::panicked("an analysis", &*panic)));
                // A caller that disconnected meanwhile needs no result.
                let _ = sender.send(done);
            }
        };
        let submitted = self.thread.submit(job);
        submitted.map_err(|_| Error::QueueFull { queue: "analyses", retry_after: RETRY_AFTER })?;
        receiver.await.unwrap_or_else(|_| Err(Error::backend("an analysis", "its thread ended")))
    }

    /// Fetches the data before the job is queued, so that a download delays no other job. `own` is the data set of the
    /// parts that name none.
    pub(super) async fn prepare(
        &self,
        own: Option<DatasetSpec>,
        needs: Vec<SplitRequest>,
    ) -> Result<(), Error> {
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
