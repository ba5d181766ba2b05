//! Decodes the images of requests on threads of its own, as many as there are cores. Decoding never runs on an async
//! thread, nor on tokio's blocking threads, which the local store needs; and the number of calls that wait for a decoder
//! is limited.

use std::{
    collections::VecDeque,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use futures::{FutureExt, future::BoxFuture};
use prometheus::IntCounter;
use tokio::sync::oneshot;
use tonic::Status;

use super::{
    convert::shared::images::{CheckedImages, DecodedImages},
    status,
};
use crate::compute;

/// Calls that may wait for each decoder: enough to keep it busy, and few enough to be served soon.
const WAITING_PER_DECODER: usize = 32;

/// The share of the queue that is kept for calls of few images, as a fraction of its capacity.
const SHARE_OF_SMALL_CALLS: usize = 4;

/// The largest number of images of a small call.
const FEW_IMAGES: usize = 8;

/// How long a call keeps a decoder while others wait for one, so that a call with many images delays them
/// little.
const MAX_TURN: Duration = Duration::from_millis(50);

/// How long work takes, and therefore where it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// The work takes no longer than copying a few images, and runs on the thread of the call.
    Inline,
    /// The work runs on the thread of a decoder.
    Offload,
}

/// The decoders of the server; clones share them. They end with the last clone.
#[derive(Debug, Clone)]
pub struct DecodePool {
    decoders: Arc<Decoders>,
    /// Counts the calls that were rejected.
    rejected: IntCounter,
}

/// Dropping it ends the threads.
#[derive(Debug)]
struct Decoders {
    /// The largest number of threads, because each may hold an image of 4096 × 4096 pixels.
    threads: usize,
    shared: Arc<DecodeQueue>,
}

/// The queue that calls and decoders share.
#[derive(Debug, Default)]
struct DecodeQueue {
    state: Mutex<QueueState>,
    arrived: Condvar,
}

#[derive(Default)]
struct QueueState {
    waiting: VecDeque<DecodeJob>,
    /// The threads that were started, each when it was first needed.
    threads: usize,
    /// The threads that wait for work.
    idle: usize,
    closed: bool,
}

/// How much of the queue a call may fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CallSize {
    /// All of it.
    Small,
    /// All but the share of small calls.
    Bulk,
}

/// The work of a call. It is pending after each image.
struct DecodeJob {
    work: BoxFuture<'static, ()>,
    size: CallSize,
    /// Ends with the caller.
    caller: Weak<()>,
}

impl DecodePool {
    /// A pool with as many decoders as the machine has cores. `rejected` counts the calls that it rejects.
    pub fn new(rejected: IntCounter) -> Self {
        Self::with_decoders(compute::cores(), rejected)
    }

    fn with_decoders(threads: usize, rejected: IntCounter) -> Self {
        Self { decoders: Arc::new(Decoders { threads, shared: Arc::default() }), rejected }
    }

    /// The images in the form that the network takes. Errors name the image, or say that too many calls wait.
    pub async fn read(&self, images: CheckedImages) -> Result<DecodedImages, Status> {
        match images {
            CheckedImages::Ready(decoded) => Ok(decoded),
            CheckedImages::Encoded(encoded) if encoded.is_inline() => Ok(run_to_end(encoded.read())?),
            CheckedImages::Encoded(encoded) => {
                let size = if encoded.count() <= FEW_IMAGES { CallSize::Small } else { CallSize::Bulk };
                Ok(self.offload(size, encoded.read()).await??)
            }
        }
    }

    /// Runs work on the images of a call that cannot be divided. Errors if too many calls wait.
    pub async fn work<T: Send + 'static>(
        &self,
        cost: Cost,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Status> {
        match cost {
            Cost::Inline => Ok(work()),
            Cost::Offload => self.offload(CallSize::Bulk, async move { work() }).await,
        }
    }

    /// Runs work on a decoder, which turns to the calls that wait whenever the turn of this one is over and the work is
    /// pending. The work ends early if this future is dropped.
    async fn offload<T: Send + 'static>(
        &self,
        size: CallSize,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Status> {
        let (sender, receiver) = oneshot::channel();
        let present = Arc::new(());
        let work = AssertUnwindSafe(work).catch_unwind().map(|result| {
            // A caller that disconnected meanwhile needs no result.
            let _ = sender.send(result);
        });
        let job = DecodeJob { work: work.boxed(), size, caller: Arc::downgrade(&present) };
        if !self.decoders.submit(job) {
            self.rejected.inc();
            return Err(status::decoders_busy());
        }
        match receiver.await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(panic)) => Err(status::panicked(&*panic)),
            Err(_) => Err(status::draining()),
        }
    }
}

impl Decoders {
    /// Queues a job; false if too many wait, or if no thread can be started.
    fn submit(&self, job: DecodeJob) -> bool {
        let capacity = self.threads * WAITING_PER_DECODER;
        let most = match job.size {
            CallSize::Small => capacity,
            CallSize::Bulk => capacity - capacity / SHARE_OF_SMALL_CALLS,
        };
        let mut state = self.shared.lock();
        if state.waiting.len() >= most {
            state.waiting.retain(|job| !job.is_abandoned());
            if state.waiting.len() >= most {
                return false;
            }
        }
        if state.idle <= state.waiting.len() && state.threads < self.threads {
            let shared = self.shared.clone();
            let spawned =
                compute::spawn(&format!("digitd-decode-{}", state.threads), move || shared.decode());
            match spawned {
                Ok(()) => state.threads += 1,
                Err(_) if state.threads == 0 => return false,
                // Fewer threads decode as well.
                Err(_) => {}
            }
        }
        state.waiting.push_back(job);
        drop(state);
        self.shared.arrived.notify_one();
        true
    }
}

impl Drop for Decoders {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.waiting.clear();
        drop(state);
        self.shared.arrived.notify_all();
    }
}

impl DecodeQueue {
    /// Does jobs, in turns, until the pool is dropped.
    fn decode(&self) {
        let mut unfinished = None;
        while let Some(job) = self.next(unfinished.take()) {
            unfinished = self.take_turn(job);
        }
    }

    /// The job that has waited longest, after which the unfinished one has its next turn.
    fn next(&self, unfinished: Option<DecodeJob>) -> Option<DecodeJob> {
        let mut state = self.lock();
        state.waiting.extend(unfinished);
        loop {
            if state.closed {
                return None;
            }
            if let Some(job) = state.waiting.pop_front() {
                return Some(job);
            }
            state.idle += 1;
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    /// Works on a job until it is done, its caller has disconnected, or its turn is over while others wait. Returns it
    /// in the last case.
    fn take_turn(&self, mut job: DecodeJob) -> Option<DecodeJob> {
        let mut context = Context::from_waker(Waker::noop());
        let mut began = Instant::now();
        loop {
            if job.is_abandoned() || job.work.as_mut().poll(&mut context).is_ready() {
                return None;
            }
            if began.elapsed() >= MAX_TURN {
                let state = self.lock();
                if state.closed || !state.waiting.is_empty() {
                    return Some(job);
                }
                began = Instant::now();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        // Nothing that runs under this lock leaves the queue half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DecodeJob {
    fn is_abandoned(&self) -> bool {
        self.caller.strong_count() == 0
    }
}

impl std::fmt::Debug for QueueState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueueState").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

/// Runs work that waits for nothing.
fn run_to_end<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = work.as_mut().poll(&mut context) {
            return output;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use bytes::Bytes;

    use super::*;
    use crate::{
        data::{ImageSize, image::Normalization},
        pb::digitd::v1::{self, image::Form},
        server::convert::shared::images,
    };

    fn pool(decoders: usize) -> DecodePool {
        DecodePool::with_decoders(decoders, IntCounter::new("rejected", "Refused.").unwrap())
    }

    fn undecodable() -> CheckedImages {
        let image = v1::Image { form: Some(Form::Encoded(Bytes::from_static(b"no image"))) };
        let spec =
            images::InputSpec { frame: ImageSize::MNIST, encoded: Normalization::Auto, detects_blank: true };
        let inputs = images::ImageInputs { images: vec![image], ..images::ImageInputs::default() };
        images::check(inputs, spec).unwrap()
    }

    /// Work of very many images; it sends a message at the first one.
    async fn endless(began: mpsc::Sender<()>) {
        let _ = began.send(());
        futures::future::pending().await
    }

    #[test]
    fn long_calls_take_turns_and_hold_no_thread_of_the_runtime() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (began, first_images) = mpsc::channel();
        let pool = pool(2);
        let long: Vec<_> = (0..20)
            .map(|_| {
                let (pool, began) = (pool.clone(), began.clone());
                runtime.spawn(async move { pool.offload(CallSize::Bulk, endless(began)).await })
            })
            .collect();
        for _ in &long {
            first_images.recv_timeout(Duration::from_secs(60)).expect("every call has its turn");
        }
        let others = runtime.block_on(async {
            let short = tokio::time::timeout(Duration::from_secs(60), pool.work(Cost::Offload, || 7));
            let blocking = tokio::task::spawn_blocking(|| 8);
            (short.await.expect("it has its turn").unwrap(), blocking.await.unwrap())
        });
        assert_eq!(others, (7, 8));
        long.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[tokio::test]
    async fn calls_beyond_the_queue_limit_are_rejected_until_callers_leave() {
        let pool = pool(1);
        let (began, first_image) = mpsc::channel();
        let mut busy = Box::pin(pool.offload(CallSize::Bulk, endless(began)));
        assert!(futures::poll!(&mut busy).is_pending());
        first_image.recv().unwrap();
        let mut waiting = Vec::new();
        // The decoder may have one of them in its hands.
        let rejected = loop {
            assert!(waiting.len() <= 2 + WAITING_PER_DECODER, "none is rejected");
            let mut read = Box::pin(async { pool.offload(CallSize::Bulk, endless(mpsc::channel().0)).await });
            match futures::poll!(&mut read) {
                Poll::Pending => waiting.push(read),
                Poll::Ready(result) => break result.unwrap_err(),
            }
        };
        assert!(waiting.len() >= WAITING_PER_DECODER * 3 / 4);
        assert_eq!(rejected.code(), tonic::Code::ResourceExhausted);
        assert_eq!(pool.rejected.get(), 1);
        let small = pool.read(undecodable()).await.unwrap_err();
        assert_eq!(small.code(), tonic::Code::InvalidArgument, "a call of one image has a share of its own");
        drop((waiting, busy));
        assert_eq!(pool.work(Cost::Offload, || 7).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_panic_of_a_call_ends_that_call_alone() {
        let pool = pool(1);
        let panicked = pool.work(Cost::Offload, || panic!("secret")).await.unwrap_err();
        assert_eq!(panicked.code(), tonic::Code::Internal);
        assert_eq!(pool.work(Cost::Offload, || 7).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn the_threads_end_with_the_pool() {
        let pool = pool(1);
        pool.work(Cost::Offload, || ()).await.unwrap();
        let queue = Arc::downgrade(&pool.decoders.shared);
        drop(pool);
        while queue.strong_count() > 0 {
            std::thread::yield_now();
        }
    }
}
