//! The engine's own threads: long-lived and named, one job after the other, each job's panic its
//! own. Torch keeps memory and its number of threads per thread, so nothing computes elsewhere.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use crate::engine::{Error, memory};

/// The libtorch that this program is built against.
pub(in crate::engine) const LIBTORCH_VERSION: &str = env!("DIGITD_LIBTORCH_VERSION");

/// How a thread computes.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Setup {
    /// Threads of one operation; 0 for one a core.
    pub threads: usize,
    pub priority: Priority,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Priority {
    Normal,
    /// Yields to everything else: for work that takes minutes beside work that takes a millisecond.
    Low,
}

/// A thread that does jobs in their order.
#[derive(Debug)]
pub(in crate::engine) struct JobThread {
    jobs: SyncSender<Job>,
}

/// The queue of a thread is full, or the thread is gone.
#[derive(Debug)]
pub(in crate::engine) struct Full;

type Job = Box<dyn FnOnce() + Send>;

impl JobThread {
    /// Starts a thread with room for `capacity` waiting jobs. It ends with the value, after its
    /// last job.
    pub fn start(name: &str, setup: Setup, capacity: usize) -> Result<Self, Error> {
        let (jobs, queue) = sync_channel(capacity);
        spawn(name, move || {
            setup.apply();
            work(&queue);
        })?;
        Ok(Self { jobs })
    }

    /// Queues a job, or refuses it at once.
    pub fn submit(&self, job: impl FnOnce() + Send + 'static) -> Result<(), Full> {
        self.jobs.try_send(Box::new(job)).map_err(|_| Full)
    }
}

impl Setup {
    /// Makes the calling thread so.
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
pub(in crate::engine) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(body);
    spawned.map(drop).map_err(|error| Error::backend("starting a thread", error))
}

/// Cores that this process may use.
pub(in crate::engine) fn cores() -> usize {
    thread::available_parallelism().map_or(1, Into::into)
}

/// What a panic said.
pub fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words")
}

fn work(queue: &Receiver<Job>) {
    while let Ok(job) = queue.recv() {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(job)) {
            tracing::error!(panic = panic_message(&*panic), "a job panicked");
        }
        memory::give_back_freed_blocks();
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

    const SETUP: Setup = Setup { threads: 1, priority: Priority::Low };

    #[test]
    fn a_job_that_panics_leaves_the_thread_to_the_next() {
        let thread = JobThread::start("test-jobs", SETUP, 2).unwrap();
        let (done, told) = std::sync::mpsc::channel();
        thread.submit(|| panic!("of this job alone")).unwrap();
        thread.submit(move || done.send(()).unwrap()).unwrap();
        told.recv().unwrap();
    }

    #[test]
    fn a_full_queue_is_an_answer() {
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
