//! The queue of one loaded version: images wait here until a worker takes a batch. A batch forms while the workers are
//! busy; no timer is needed for that.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{config::BatchConfig, images::ImageBatch};
use crate::compute::Error;

/// The mean time after which callers are asked to retry if the queue is full.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// The longest such time, however many calls were rejected.
const LATEST_RETRY: Duration = Duration::from_secs(5);

/// The rate of rejections, per second, that leaves the server nearly all of its time for predictions. Above it, the
/// retry time in the responses grows.
const FEW_REJECTIONS: f64 = 2000.0;

/// The fractional part of the golden ratio, whose multiples are spread evenly between 0 and 1.
const GOLDEN_RATIO: f64 = 0.618_033_988_75;

/// The interval over which rejections are counted.
const COUNTING: Duration = Duration::from_secs(1);

/// A worker's result: probabilities [images, classes] in row-major order.
pub type ChunkResult = Result<Vec<f32>, Error>;

/// The queue that callers and workers share.
#[derive(Debug)]
pub struct Batcher {
    config: BatchConfig,
    queue: Mutex<Queue>,
    arrived: Condvar,
}

#[derive(Debug)]
struct Queue {
    chunks: VecDeque<Chunk>,
    images: usize,
    closed: bool,
    rejections: Rejections,
}

/// The number of calls that were rejected lately.
#[derive(Debug)]
struct Rejections {
    since: Instant,
    count: u32,
    /// Rejections per second in the interval before.
    before: f64,
}

/// Images of one call, at most as many as a batch takes.
#[derive(Debug)]
pub struct Chunk {
    pub pixels: Pixels,
    pub images: usize,
    pub sender: oneshot::Sender<ChunkResult>,
    deadline: Option<Instant>,
    /// When the chunk was queued; a later chunk of a call is queued when the one before it is taken.
    pub since: Instant,
    /// The rest of a call that is larger than a batch.
    rest: Option<Box<Call>>,
}

/// A part of the images of a call, not copied.
#[derive(Debug)]
pub enum Pixels {
    Bytes(Bytes),
    Floats(Arc<Vec<f32>>, Range<usize>),
    /// float32, little-endian.
    FloatBytes(Bytes),
}

impl Batcher {
    pub fn new(config: BatchConfig) -> Self {
        let rejections = Rejections { since: Instant::now(), count: 0, before: 0.0 };
        let queue = Queue { chunks: VecDeque::new(), images: 0, closed: false, rejections };
        Self { config, queue: Mutex::new(queue), arrived: Condvar::new() }
    }

    /// Queues `count` images of `area` pixels in chunks; the predictions come in their order. A call that is larger than
    /// a batch has one chunk in the queue at a time, each after the calls that arrived meanwhile, so it delays no other
    /// call and is computed however large it is. Errors: `QueueFull`, `DeadlineExceeded`.
    pub fn submit(
        &self,
        batch: ImageBatch,
        (count, area): (usize, usize),
        deadline: Option<Instant>,
    ) -> Result<Vec<oneshot::Receiver<ChunkResult>>, Error> {
        let since = Instant::now();
        if deadline.is_some_and(|deadline| deadline <= since) {
            return Err(Error::DeadlineExceeded);
        }
        let max_images = self.config.max_batch_size;
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..count.div_ceil(max_images)).map(|_| oneshot::channel()).unzip();
        let images = Splitter::new(batch, area);
        let mut call = Call { images, left: 0..count, max_images, senders: senders.into_iter(), deadline };
        let bulk = count > max_images;
        let entering = count.min(max_images);
        let mut queue = self.lock();
        if queue.images > 0 && queue.images + entering > self.config.queue_capacity {
            let retry_after = queue.rejections.add(since);
            return Err(Error::QueueFull { queue: "predictions", retry_after });
        }
        if bulk {
            queue.push_next(Box::new(call), since);
        } else if let Some(chunk) = call.cut(since) {
            queue.push(chunk);
        }
        drop(queue);
        self.arrived.notify_one();
        Ok(receivers)
    }

    /// The next batch: whole chunks, at most `max_batch_size` images. Chunks whose caller has disconnected are dropped,
    /// and those past their deadline are rejected, before any compute. None once the queue is closed and empty.
    pub fn take(&self) -> Option<Vec<Chunk>> {
        let mut queue = self.lock();
        loop {
            let Some(first) = queue.chunks.front() else {
                if queue.closed {
                    return None;
                }
                queue = self.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = self.config.max_queue_delay.saturating_sub(first.since.elapsed());
            if !left.is_zero() && queue.images < self.config.max_batch_size && !queue.closed {
                let woken = self.arrived.wait_timeout(queue, left);
                queue = woken.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            let batch = queue.batch(self.config.max_batch_size);
            if !queue.chunks.is_empty() {
                // A large call may have queued its next chunk here, of which no other worker was notified.
                self.arrived.notify_one();
            }
            if !batch.is_empty() {
                return Some(batch);
            }
        }
    }

    /// The number of images that wait.
    pub fn waiting_images(&self) -> usize {
        self.lock().images
    }

    /// Ends the workers once all waiting images are computed.
    pub fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing that runs under this lock can panic half-way through a change.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn batch(&mut self, max_images: usize) -> Vec<Chunk> {
        let now = Instant::now();
        let (mut batch, mut images) = (Vec::new(), 0);
        while self.chunks.front().is_some_and(|chunk| images + chunk.images <= max_images) {
            let Some(mut chunk) = self.chunks.pop_front() else { break };
            self.images -= chunk.images;
            if let Some(call) = chunk.rest.take() {
                self.push_next(call, now);
            }
            if chunk.sender.is_closed() {
                continue;
            }
            if chunk.deadline.is_some_and(|deadline| deadline <= now) {
                // The caller may have disconnected in this instant and not need the error.
                let _ = chunk.sender.send(Err(Error::DeadlineExceeded));
                continue;
            }
            images += chunk.images;
            batch.push(chunk);
        }
        batch
    }

    fn push(&mut self, chunk: Chunk) {
        self.images += chunk.images;
        self.chunks.push_back(chunk);
    }

    /// Queues the next chunk of a large call, if there is one, with the rest of the call behind it.
    fn push_next(&mut self, mut call: Box<Call>, now: Instant) {
        if let Some(chunk) = call.cut(now) {
            self.push(Chunk { rest: Some(call), ..chunk });
        }
    }
}

impl Rejections {
    /// Counts a rejection and returns when its caller shall retry. The more callers there are, the later and the more
    /// spread out they retry, so that their calls take no time from predictions.
    fn add(&mut self, now: Instant) -> Duration {
        let counted = now.saturating_duration_since(self.since);
        if counted >= COUNTING {
            self.before = f64::from(self.count) / counted.as_secs_f64();
            (self.since, self.count) = (now, 0);
        }
        self.count += 1;
        let rate = self.before.max(f64::from(self.count) / COUNTING.as_secs_f64());
        let spread = 0.5 + (f64::from(self.count) * GOLDEN_RATIO).fract();
        RETRY_AFTER.mul_f64((rate / FEW_REJECTIONS).max(1.0) * spread).min(LATEST_RETRY)
    }
}

/// The part of a call that is not queued yet.
#[derive(Debug)]
struct Call {
    images: Splitter,
    left: Range<usize>,
    /// The largest number of images of a chunk.
    max_images: usize,
    /// One sender per remaining chunk.
    senders: std::vec::IntoIter<oneshot::Sender<ChunkResult>>,
    deadline: Option<Instant>,
}

impl Call {
    /// The next chunk.
    fn cut(&mut self, since: Instant) -> Option<Chunk> {
        let sender = self.senders.next()?;
        let end = self.left.end.min(self.left.start + self.max_images);
        let part = std::mem::replace(&mut self.left.start, end)..end;
        let images = part.len();
        let pixels = self.images.part(part);
        Some(Chunk { pixels, images, sender, deadline: self.deadline, since, rest: None })
    }
}

/// Splits the images of a call without copying them.
#[derive(Debug)]
enum Splitter {
    Bytes(Bytes, usize),
    Floats(Arc<Vec<f32>>, usize),
    FloatBytes(Bytes, usize),
}

impl Splitter {
    fn new(batch: ImageBatch, area: usize) -> Self {
        match batch {
            ImageBatch::Bytes(bytes) => Self::Bytes(bytes, area),
            ImageBatch::Floats(values) => Self::Floats(Arc::new(values), area),
            ImageBatch::FloatBytes(bytes) => Self::FloatBytes(bytes, area * size_of::<f32>()),
        }
    }

    fn part(&mut self, images: Range<usize>) -> Pixels {
        match self {
            Self::Bytes(bytes, area) => Pixels::Bytes(bytes.slice(images.start * *area..images.end * *area)),
            Self::Floats(values, area) => {
                Pixels::Floats(values.clone(), images.start * *area..images.end * *area)
            }
            Self::FloatBytes(bytes, length) => {
                Pixels::FloatBytes(bytes.slice(images.start * *length..images.end * *length))
            }
        }
    }
}

#[cfg(test)]
mod tests;
