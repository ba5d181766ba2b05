//! The queue of one loaded version: pictures wait here, counted, until a worker takes a batch. A
//! batch forms while the workers are busy; no timer is needed for that.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::engine::{BatchConfig, Error, Pictures};

/// When to try again where the queue is full, and the longest time where many were refused.
const RETRY_AFTER: Duration = Duration::from_millis(200);
const LATEST_RETRY: Duration = Duration::from_secs(5);

/// Refusals a second that leave the server nearly all of its time for answers; where there are more,
/// callers are told to wait for longer.
const FEW_REFUSALS: f64 = 2000.0;

/// Over so long refusals are counted.
const COUNTED: Duration = Duration::from_secs(1);

/// What a worker answers: [images, classes], row by row.
pub(in crate::engine) type Answer = Result<Vec<f32>, Error>;

/// Shared by callers and workers.
#[derive(Debug)]
pub(in crate::engine) struct Batcher {
    config: BatchConfig,
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Debug)]
struct Waiting {
    chunks: VecDeque<Chunk>,
    images: usize,
    closed: bool,
    refusals: Refusals,
}

/// How many calls were refused lately.
#[derive(Debug)]
struct Refusals {
    since: Instant,
    count: u32,
    /// Of the time before, a second.
    before: f64,
}

/// Pictures of one call, as many as a batch takes at most.
#[derive(Debug)]
pub(in crate::engine) struct Chunk {
    pub pixels: Pixels,
    pub images: usize,
    pub answer: oneshot::Sender<Answer>,
    deadline: Option<Instant>,
    /// When it was queued: after the chunk before it was taken, where it follows one.
    pub since: Instant,
    /// Of a call that is larger than the queue: what follows this chunk.
    rest: Option<Box<Call>>,
}

/// A part of a call's pictures, not copied.
#[derive(Debug)]
pub(in crate::engine) enum Pixels {
    Bytes(Bytes),
    Floats(Arc<Vec<f32>>, Range<usize>),
    /// float32, little-endian.
    FloatBytes(Bytes),
}

impl Batcher {
    pub fn new(config: BatchConfig) -> Self {
        let refusals = Refusals { since: Instant::now(), count: 0, before: 0.0 };
        let waiting = Waiting { chunks: VecDeque::new(), images: 0, closed: false, refusals };
        Self { config, waiting: Mutex::new(waiting), arrived: Condvar::new() }
    }

    /// Queues `images` pictures of `area` pixels in chunks; the answers come in their order. A
    /// call that is larger than a batch stands in the queue with one chunk at a time, each behind what
    /// came meanwhile: so it holds nobody up, and is answered however large it is.
    pub fn submit(
        &self,
        pictures: Pictures,
        (images, area): (usize, usize),
        deadline: Option<Instant>,
    ) -> Result<Vec<oneshot::Receiver<Answer>>, Error> {
        let since = Instant::now();
        if deadline.is_some_and(|deadline| deadline <= since) {
            return Err(Error::DeadlineExceeded);
        }
        let most = self.config.max_batch_size;
        let (answers, receivers): (Vec<_>, Vec<_>) =
            (0..images.div_ceil(most)).map(|_| oneshot::channel()).unzip();
        let pictures = Splitter::new(pictures, area);
        let mut call = Call { pictures, left: 0..images, most, answers: answers.into_iter(), deadline };
        let bulk = images > most;
        let entering = images.min(most);
        let mut waiting = self.lock();
        if waiting.images > 0 && waiting.images + entering > self.config.queue_capacity {
            let retry_after = waiting.refusals.add(since);
            return Err(Error::QueueFull { queue: "predictions", retry_after });
        }
        if bulk {
            waiting.push_next(Box::new(call), since);
        } else if let Some(chunk) = call.cut(since) {
            waiting.push(chunk);
        }
        drop(waiting);
        self.arrived.notify_one();
        Ok(receivers)
    }

    /// The next batch: whole chunks, at most `max_batch_size` images. Chunks that nobody waits for
    /// any more are dropped, those past their deadline refused, before any compute. None when the
    /// queue is closed and empty.
    pub fn take(&self) -> Option<Vec<Chunk>> {
        let mut waiting = self.lock();
        loop {
            let Some(first) = waiting.chunks.front() else {
                if waiting.closed {
                    return None;
                }
                waiting = self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = self.config.max_queue_delay.saturating_sub(first.since.elapsed());
            if !left.is_zero() && waiting.images < self.config.max_batch_size && !waiting.closed {
                let woken = self.arrived.wait_timeout(waiting, left);
                waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            let batch = waiting.batch(self.config.max_batch_size);
            if !waiting.chunks.is_empty() {
                // A large call may have queued its next chunk here, of which nobody else knows.
                self.arrived.notify_one();
            }
            if !batch.is_empty() {
                return Some(batch);
            }
        }
    }

    /// Images that wait now.
    pub fn waiting_images(&self) -> usize {
        self.lock().images
    }

    /// Lets the workers end once everything that waits is answered.
    pub fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing that runs under this lock can panic half-way through a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn batch(&mut self, most: usize) -> Vec<Chunk> {
        let now = Instant::now();
        let (mut batch, mut images) = (Vec::new(), 0);
        while self.chunks.front().is_some_and(|chunk| images + chunk.images <= most) {
            let Some(mut chunk) = self.chunks.pop_front() else { break };
            self.images -= chunk.images;
            if let Some(call) = chunk.rest.take() {
                self.push_next(call, now);
            }
            if chunk.answer.is_closed() {
                continue;
            }
            if chunk.deadline.is_some_and(|deadline| deadline <= now) {
                // The caller may have gone in this instant; then nobody needs the refusal.
                let _ = chunk.answer.send(Err(Error::DeadlineExceeded));
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

    /// Queues the next chunk of a large call, if there is one; the rest of the call comes after it.
    fn push_next(&mut self, mut call: Box<Call>, now: Instant) {
        if let Some(chunk) = call.cut(now) {
            self.push(Chunk { rest: Some(call), ..chunk });
        }
    }
}

impl Refusals {
    /// One more; when its caller shall come again. Those who are many come later, and not together:
    /// so their coming takes no time from the answers.
    fn add(&mut self, now: Instant) -> Duration {
        let counted = now.saturating_duration_since(self.since);
        if counted >= COUNTED {
            self.before = f64::from(self.count) / counted.as_secs_f64();
            (self.since, self.count) = (now, 0);
        }
        self.count += 1;
        let rate = self.before.max(f64::from(self.count) / COUNTED.as_secs_f64());
        // Multiples of the golden section lie evenly between 0 and 1.
        let spread = 0.5 + (f64::from(self.count) * 0.618_033_988_75).fract();
        RETRY_AFTER.mul_f64((rate / FEW_REFUSALS).max(1.0) * spread).min(LATEST_RETRY)
    }
}

/// What is not queued yet of a call.
#[derive(Debug)]
struct Call {
    pictures: Splitter,
    left: Range<usize>,
    /// Of a chunk.
    most: usize,
    /// One of each chunk that is left.
    answers: std::vec::IntoIter<oneshot::Sender<Answer>>,
    deadline: Option<Instant>,
}

impl Call {
    /// The next chunk, which waits from now on.
    fn cut(&mut self, since: Instant) -> Option<Chunk> {
        let answer = self.answers.next()?;
        let end = self.left.end.min(self.left.start + self.most);
        let part = std::mem::replace(&mut self.left.start, end)..end;
        let images = part.len();
        let pixels = self.pictures.part(part);
        Some(Chunk { pixels, images, answer, deadline: self.deadline, since, rest: None })
    }
}

/// Cuts a call's pictures without copying them.
#[derive(Debug)]
enum Splitter {
    Bytes(Bytes, usize),
    Floats(Arc<Vec<f32>>, usize),
    FloatBytes(Bytes, usize),
}

impl Splitter {
    fn new(pictures: Pictures, area: usize) -> Self {
        match pictures {
            Pictures::Bytes(bytes) => Self::Bytes(bytes, area),
            Pictures::Floats(values) => Self::Floats(Arc::new(values), area),
            Pictures::FloatBytes(bytes) => Self::FloatBytes(bytes, area * size_of::<f32>()),
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
