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
        let mut call =
            Call { pictures, left: 0..images, most, answers: answers.into_iter(), deadline, since };
        let bulk = images > most;
        let entering = images.min(most);
        let mut waiting = self.lock();
        if waiting.images > 0 && waiting.images + entering > self.config.queue_capacity {
            let retry_after = waiting.refusals.add(since);
            return Err(Error::QueueFull { queue: "predictions", retry_after });
        }
        if bulk {
            waiting.push_next(Box::new(call));
        } else if let Some(chunk) = call.cut() {
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
                self.push_next(call);
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
    fn push_next(&mut self, mut call: Box<Call>) {
        if let Some(chunk) = call.cut() {
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
    since: Instant,
}

impl Call {
    fn cut(&mut self) -> Option<Chunk> {
        let answer = self.answers.next()?;
        let end = self.left.end.min(self.left.start + self.most);
        let part = std::mem::replace(&mut self.left.start, end)..end;
        let images = part.len();
        let pixels = self.pictures.part(part);
        Some(Chunk { pixels, images, answer, deadline: self.deadline, since: self.since, rest: None })
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
mod tests {
    use super::*;

    fn batcher(capacity: usize) -> Batcher {
        let config = BatchConfig { max_batch_size: 4, queue_capacity: capacity, ..BatchConfig::default() };
        Batcher::new(config)
    }

    /// Queues `images` pictures of one pixel, whose value is their place.
    fn submit(batcher: &Batcher, images: usize) -> Result<Vec<oneshot::Receiver<Answer>>, Error> {
        let pixels: Vec<u8> = (0..images as u8).collect();
        batcher.submit(Pictures::Bytes(pixels.into()), (images, 1), None)
    }

    fn sizes(batcher: &Batcher) -> Vec<usize> {
        batcher.take().unwrap().iter().map(|chunk| chunk.images).collect()
    }

    #[test]
    fn calls_that_wait_together_become_one_batch() {
        let batcher = batcher(100);
        let waiting: Vec<_> = [1, 2, 1, 1].map(|images| submit(&batcher, images).unwrap()).into();
        assert_eq!(sizes(&batcher), [1, 2, 1]);
        assert_eq!(sizes(&batcher), [1]);
        drop(waiting);
    }

    #[test]
    fn a_large_call_passes_in_chunks_in_its_order() {
        let batcher = batcher(100);
        let answers = submit(&batcher, 10).unwrap();
        assert_eq!(answers.len(), 3);
        let mut pixels = Vec::new();
        for size in [4, 4, 2] {
            let [chunk] = &batcher.take().unwrap()[..] else { panic!("a chunk fills a batch") };
            assert_eq!(chunk.images, size);
            let Pixels::Bytes(bytes) = &chunk.pixels else { panic!("bytes stay bytes") };
            pixels.extend_from_slice(bytes);
        }
        assert_eq!(pixels, (0..10).collect::<Vec<u8>>());
    }

    #[test]
    fn a_full_queue_refuses_and_has_room_again() {
        let batcher = batcher(4);
        let _first = submit(&batcher, 3).unwrap();
        assert!(matches!(submit(&batcher, 2), Err(Error::QueueFull { .. })));
        batcher.take().unwrap();
        let _second = submit(&batcher, 2).unwrap();
    }

    #[test]
    fn the_more_are_refused_the_later_they_come_again_and_never_together() {
        let start = Instant::now();
        let mut refusals = Refusals { since: start, count: 0, before: 0.0 };
        let mut refuse = |count: u32, at: Duration| -> Vec<Duration> {
            (0..count).map(|_| refusals.add(start + at)).collect()
        };
        let mean = |waits: &[Duration]| waits.iter().sum::<Duration>().as_secs_f64() / waits.len() as f64;
        let few = refuse(1000, Duration::ZERO);
        assert!((mean(&few) - 0.2).abs() < 0.01, "{}", mean(&few));
        let near = |wait: &&Duration| (0.19..0.21).contains(&wait.as_secs_f64());
        assert!(few.iter().filter(near).count() < 150);
        refuse(9000, Duration::ZERO);
        let many = refuse(1000, COUNTED);
        assert!((mean(&many) - 1.0).abs() < 0.05, "{}", mean(&many));
        refuse(1_000_000, 2 * COUNTED);
        assert!(refuse(1000, 3 * COUNTED).iter().all(|wait| *wait <= LATEST_RETRY));
        assert!((mean(&refuse(1000, 5 * COUNTED)) - 0.2).abs() < 0.01, "calm is back");
    }

    #[test]
    fn a_call_larger_than_the_queue_is_let_in_when_nothing_waits() {
        let batcher = batcher(4);
        let _large = submit(&batcher, 9).unwrap();
        assert!(matches!(submit(&batcher, 1), Err(Error::QueueFull { .. })));
    }

    #[test]
    fn a_call_larger_than_the_queue_neither_starves_nor_blocks() {
        let batcher = batcher(8);
        let _first = submit(&batcher, 1).unwrap();
        let large = submit(&batcher, 10).unwrap();
        let _last = submit(&batcher, 1).unwrap();
        assert_eq!([(); 3].map(|()| sizes(&batcher)), [vec![1], vec![4], vec![1]]);
        assert_eq!([(); 2].map(|()| sizes(&batcher)), [vec![4], vec![2]]);
        assert_eq!(large.len(), 3);
        batcher.close();
        assert!(batcher.take().is_none());
    }

    #[test]
    fn callers_that_went_away_cost_no_compute() {
        let batcher = batcher(100);
        drop(submit(&batcher, 1).unwrap());
        let _living = submit(&batcher, 2).unwrap();
        assert_eq!(sizes(&batcher), [2]);
        batcher.close();
        assert!(batcher.take().is_none());
    }

    #[test]
    fn a_deadline_that_passed_costs_no_compute() {
        let batcher = batcher(100);
        let pixel = || Pictures::Bytes(Bytes::from_static(&[0]));
        let past = batcher.submit(pixel(), (1, 1), Some(Instant::now()));
        assert!(matches!(past, Err(Error::DeadlineExceeded)));
        let soon = Instant::now() + Duration::from_millis(1);
        let mut answers = batcher.submit(pixel(), (1, 1), Some(soon)).unwrap();
        while Instant::now() <= soon {
            std::thread::yield_now();
        }
        batcher.close();
        assert!(batcher.take().is_none());
        assert!(matches!(answers[0].try_recv().unwrap(), Err(Error::DeadlineExceeded)));
    }

    #[test]
    fn a_delay_holds_a_batch_until_it_is_full() {
        let delay = Duration::from_secs(3600);
        let config = BatchConfig { max_batch_size: 4, max_queue_delay: delay, ..BatchConfig::default() };
        let batcher = Batcher::new(config);
        let _answers: Vec<_> = (0..4).map(|_| submit(&batcher, 1).unwrap()).collect();
        assert_eq!(sizes(&batcher), [1, 1, 1, 1]);
    }
}
