//! The threads that compute: long-lived and named; each does one job after the other, and a job's panic ends
//! that job alone. libtorch keeps memory and its number of threads per thread, so nothing computes elsewhere.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use super::{allocator, error::Error, panic::panic_message};

/// The version of libtorch that this program is built against.
pub const LIBTORCH_VERSION: &str = env!("DIGITD_LIBTORCH_VERSION");

/// How a thread computes.
#[derive(Debug, Clone, Copy)]
pub struct ThreadSettings {
    /// Threads of one operation; 0 for one a core.
    pub threads: usize,
    pub priority: Priority,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    Normal,
    /// Yields to everything else: for work that takes minutes beside work that takes a millisecond.
    Low,
}

/// A thread that does jobs in their order.
#[derive(Debug)]
pub struct JobThread {
    jobs: SyncSender<Job>,
}

/// The queue of a thread is full, or the thread has ended.
#[derive(Debug)]
pub struct QueueFull;

type Job = Box<dyn FnOnce() + Send>;

impl JobThread {
    /// Starts a thread with room for `capacity` waiting jobs. It ends with the value, after its
    /// last job.
    pub fn start(name: &str, setup: ThreadSettings, capacity: usize) -> Result<Self, Error> {
        let (jobs, queue) = sync_channel(capacity);
        spawn(name, move || {
            setup.apply();
            work(&queue);
        })?;
        Ok(Self { jobs })
    }

    /// Queues a job, or refuses it at once.
    pub fn submit(&self, job: impl FnOnce() + Send + 'static) -> Result<(), QueueFull> {
        self.jobs.try_send(Box::new(job)).map_err(|_| QueueFull)
    }
}

impl ThreadSettings {
    /// Applies the settings to the calling thread.
    pub fn apply(self) {
        if self.priority == Priority::Low {
            lower_priority();
        }
        let threads = if self.threads == 0 { cores() } else { self.threads };
        // Asked first, because a thread's first question sets the number anew.
        tch::get_num_threads();
        tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
    }
}

/// Starts a named thread.
pub fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(body);
    spawned.map(drop).map_err(|error| Error::backend("starting a thread", error))
}

/// Cores that this process may use.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, Into::into)
}

fn work(queue: &Receiver<Job>) {
    while let Ok(job) = queue.recv() {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(job)) {
            tracing::error!(panic = panic_message(&*panic), "a job panicked");
        }
        allocator::return_freed_memory();
    }
}

/// Raises the thread's niceness. The threads that OpenMP starts from it inherit that.
#[expect(unsafe_code, reason = "the standard library sets no priorities")]
fn lower_priority() {
    // Under full load a third of what others get, so that a run still moves. What keeps predictions quick is
    // that training yields after every image (`nn::fused`): the lowest niceness alone would not, for the
    // scheduler's slices take some milliseconds.
    const NICENESS: libc::c_int = 5;
    // SAFETY: both calls take and give plain numbers, and change this thread alone: on Linux a
    // priority belongs to a thread, and PRIO_PROCESS with a thread's id means that thread.
    let lowered = unsafe { libc::setpriority(libc::PRIO_PROCESS, libc::gettid().unsigned_abs(), NICENESS) };
    if lowered != 0 {
        let error = std::io::Error::last_os_error();
        tracing::warn!(%error, "training runs at the priority of everything else");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETUP: ThreadSettings = ThreadSettings { threads: 1, priority: Priority::Low };

    #[test]
    fn a_panicking_job_does_not_end_its_thread() {
        let thread = JobThread::start("test-jobs", SETUP, 2).unwrap();
        let (done, received) = std::sync::mpsc::channel();
        thread.submit(|| panic!("of this job alone")).unwrap();
        thread.submit(move || done.send(()).unwrap()).unwrap();
        received.recv().unwrap();
    }

    #[test]
    fn a_full_queue_rejects_with_an_error() {
        let thread = JobThread::start("test-full", SETUP, 1).unwrap();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (started, begun) = std::sync::mpsc::channel();
        let job = move || {
            started.send(()).unwrap();
            let _ = wait.recv();
        };
        thread.submit(job).unwrap();
        begun.recv().unwrap();
        thread.submit(|| {}).unwrap();
        assert!(thread.submit(|| {}).is_err());
        drop(go);
    }
}
