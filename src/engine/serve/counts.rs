//! What a version did since the server's start: requests, batches and where their time went. Plain
//! atomics, a few additions a batch and a request; who shows them in which protocol is not known here.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::engine::metrics::{Outcome, VersionMetrics};

/// Of one version; it outlives the version's being let go and loaded again.
#[derive(Debug)]
pub(in crate::engine) struct Counts {
    pub metrics: VersionMetrics,
    success: Timer,
    fail: Timer,
    queue: Timer,
    phases: [Timer; PHASES],
    /// Milliseconds since 1970.
    last: AtomicU64,
    /// By the size of the batch, from 1.
    batches: Box<[BatchCounts]>,
}

/// How often something happened, and how long all of it took.
#[derive(Debug, Default)]
struct Timer {
    count: AtomicU64,
    nanos: AtomicU64,
}

#[derive(Debug, Default)]
struct BatchCounts {
    count: AtomicU64,
    nanos: [AtomicU64; PHASES],
}

/// A caller's clock began before ours: so much before its deadline it may have given up for it.
const CLOCKS: Duration = Duration::from_millis(5);

/// Input, network, output.
const PHASES: usize = 3;

/// A batch that was computed: its parts are the chunks of calls that it was made of.
#[derive(Debug)]
pub(in crate::engine) struct Executed {
    pub images: usize,
    /// What each part waited.
    pub waits: Vec<Duration>,
    /// Putting it together, the network, taking it apart.
    pub phases: [Duration; PHASES],
}

/// What a version did since the server's start. A call of more images than a batch takes waits and is
/// computed in parts; `queue` and `phases` count each of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Calls that were answered, from their arrival to their answer.
    pub success: Span,
    /// Calls that were not: refused, late, left by their caller, or failed inside.
    pub fail: Span,
    /// Waiting for a worker.
    pub queue: Span,
    pub phases: Phases,
    /// When a batch was computed last; none for never.
    pub last: Option<SystemTime>,
    /// Smallest first; sizes that never were are left out.
    pub batches: Vec<BatchFigures>,
}

/// How often, and how long all together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    pub count: u64,
    pub total: Duration,
}

/// Where the time of a batch goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Phases {
    /// Putting it together.
    pub input: Span,
    /// The network.
    pub network: Span,
    /// Taking the answers apart.
    pub output: Span,
}

/// The batches of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchFigures {
    pub images: usize,
    pub phases: Phases,
}

impl Figures {
    /// Images that were computed.
    pub fn images(&self) -> u64 {
        self.batches.iter().map(|batch| batch.images as u64 * batch.phases.network.count).sum()
    }

    /// Batches that they were computed in.
    pub fn executions(&self) -> u64 {
        self.batches.iter().map(|batch| batch.phases.network.count).sum()
    }
}

impl Counts {
    /// For batches of up to `most` images; told in these series too.
    pub fn new(most: usize, metrics: VersionMetrics) -> Self {
        Self {
            metrics,
            success: Timer::default(),
            fail: Timer::default(),
            queue: Timer::default(),
            phases: Default::default(),
            last: AtomicU64::new(0),
            batches: (0..most).map(|_| BatchCounts::default()).collect(),
        }
    }

    /// A call that begins now and shall end before its deadline. Unless its end is told, its caller went
    /// away, or did so because the deadline passed.
    pub fn call(&self, deadline: Option<Instant>) -> Call<'_> {
        Call { counts: self, since: Instant::now(), deadline, outcome: Outcome::Left }
    }

    pub fn executed(&self, batch: &Executed) {
        let parts = batch.waits.len() as u64;
        self.queue.add(parts, nanos(batch.waits.iter().sum()));
        for wait in &batch.waits {
            self.metrics.queue.observe(wait.as_secs_f64());
        }
        self.metrics.compute.observe(batch.phases.iter().sum::<Duration>().as_secs_f64());
        self.metrics.batch.observe(batch.images as f64);
        for (timer, spent) in self.phases.iter().zip(batch.phases) {
            // Each part was in the batch for all of its time.
            timer.add(parts, nanos(spent).saturating_mul(parts));
        }
        if let Some(counts) = batch.images.checked_sub(1).and_then(|index| self.batches.get(index)) {
            counts.count.fetch_add(1, Relaxed);
            for (sum, spent) in counts.nanos.iter().zip(batch.phases) {
                sum.fetch_add(nanos(spent), Relaxed);
            }
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last.store(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    /// All of it as it is now.
    pub fn read(&self) -> Figures {
        let [input, network, output] = self.phases.each_ref().map(Timer::read);
        let last = self.last.load(Relaxed);
        Figures {
            success: self.success.read(),
            fail: self.fail.read(),
            queue: self.queue.read(),
            phases: Phases { input, network, output },
            last: (last > 0).then(|| UNIX_EPOCH + Duration::from_millis(last)),
            batches: (1..).zip(&self.batches).filter_map(|(images, counts)| counts.read(images)).collect(),
        }
    }
}

/// A call under way.
#[derive(Debug)]
pub(in crate::engine) struct Call<'a> {
    counts: &'a Counts,
    since: Instant,
    deadline: Option<Instant>,
    outcome: Outcome,
}

impl Call<'_> {
    pub fn ended(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        if self.outcome == Outcome::Left && self.deadline.is_some_and(|deadline| now + CLOCKS >= deadline) {
            self.outcome = Outcome::Late;
        }
        let timer = match self.outcome {
            Outcome::Answered => &self.counts.success,
            Outcome::Refused | Outcome::Late | Outcome::Left | Outcome::Failed => &self.counts.fail,
        };
        timer.add(1, nanos(now - self.since));
        self.counts.metrics.ended(self.outcome);
    }
}

impl Timer {
    fn add(&self, times: u64, nanos: u64) {
        self.count.fetch_add(times, Relaxed);
        self.nanos.fetch_add(nanos, Relaxed);
    }

    fn read(&self) -> Span {
        Span { count: self.count.load(Relaxed), total: Duration::from_nanos(self.nanos.load(Relaxed)) }
    }
}

impl BatchCounts {
    fn read(&self, images: usize) -> Option<BatchFigures> {
        let count = self.count.load(Relaxed);
        let span = |nanos: &AtomicU64| Span { count, total: Duration::from_nanos(nanos.load(Relaxed)) };
        let [input, network, output] = self.nanos.each_ref().map(span);
        (count > 0).then_some(BatchFigures { images, phases: Phases { input, network, output } })
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{engine::Metrics, ids::ModelName, ids::Version};

    fn counts(most: usize) -> Counts {
        let metrics = Metrics::new().inference.version(&ModelName::default(), Version::FIRST);
        Counts::new(most, metrics)
    }

    fn batch(images: usize, parts: usize) -> Executed {
        let micros = Duration::from_micros;
        Executed { images, waits: vec![micros(5); parts], phases: [micros(1), micros(5), micros(2)] }
    }

    #[test]
    fn images_and_batches_are_counted_by_the_size_of_the_batch() {
        let counts = counts(4);
        assert_eq!(counts.read(), Figures::default());
        for (images, parts) in [(4, 1), (3, 2), (4, 4)] {
            counts.executed(&batch(images, parts));
        }
        let figures = counts.read();
        assert_eq!((figures.images(), figures.executions()), (11, 3));
        let sizes = figures.batches.iter().map(|batch| (batch.images, batch.phases.network.count));
        assert_eq!(sizes.collect::<Vec<_>>(), [(3, 1), (4, 2)]);
        assert_eq!(figures.batches[1].phases.output.total, Duration::from_micros(4));
        assert!(figures.last.is_some());
    }

    #[test]
    fn every_part_of_a_batch_waits_and_is_computed_for_itself() {
        let counts = counts(4);
        counts.executed(&batch(3, 2));
        let figures = counts.read();
        assert_eq!(figures.queue, Span { count: 2, total: Duration::from_micros(10) });
        assert_eq!(figures.phases.network, Span { count: 2, total: Duration::from_micros(10) });
    }

    #[test]
    fn a_call_that_is_not_answered_has_failed() {
        let counts = counts(1);
        drop(counts.call(None));
        counts.call(None).ended(Outcome::Answered);
        counts.call(None).ended(Outcome::Answered);
        let figures = counts.read();
        assert_eq!((figures.success.count, figures.fail.count), (2, 1));
    }

    #[test]
    fn a_call_that_is_left_at_its_deadline_was_late() {
        let counts = counts(1);
        let now = Instant::now();
        drop(counts.call(Some(now)));
        drop(counts.call(Some(now + Duration::from_secs(3600))));
        drop(counts.call(None));
        let ended = |outcome| counts.metrics.count(outcome);
        assert_eq!((ended(Outcome::Late), ended(Outcome::Left)), (1, 2));
    }

    #[test]
    fn a_batch_of_a_size_that_cannot_be_harms_nothing() {
        let counts = counts(2);
        counts.executed(&batch(0, 0));
        counts.executed(&batch(3, 1));
        assert_eq!(counts.read().images(), 0);
    }
}
