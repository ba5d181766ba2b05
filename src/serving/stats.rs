//! Statistics of a version since the server's start: requests, batches, and where their time went. They are plain
//! atomics, a few additions per batch and request; no protocol is known here.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    compute::{CallOutcome, VersionMetrics},
    ids::{ModelName, Version},
};

/// Records the statistics of one version, also while it is evicted and loaded again.
#[derive(Debug)]
pub struct StatsRecorder {
    pub metrics: VersionMetrics,
    success: Timer,
    fail: Timer,
    queue: Timer,
    phases: [Timer; PHASES],
    /// Milliseconds since 1970.
    last: AtomicU64,
    /// One entry per batch size, from 1.
    batches: Box<[BatchCounters]>,
}

/// Counts something and sums up its duration.
#[derive(Debug, Default)]
struct Timer {
    count: AtomicU64,
    nanos: AtomicU64,
}

#[derive(Debug, Default)]
struct BatchCounters {
    count: AtomicU64,
    nanos: [AtomicU64; PHASES],
}

/// A caller's clock starts before ours, so it may cancel a call this long before its deadline because of it.
const CLOCK_SKEW: Duration = Duration::from_millis(5);

/// Input, network, output.
const PHASES: usize = 3;

/// A batch that was computed from chunks of calls.
#[derive(Debug)]
pub struct ExecutedBatch {
    pub images: usize,
    /// How long each chunk waited.
    pub waits: Vec<Duration>,
    /// Durations of assembling the batch, of the network, and of splitting the predictions.
    pub phases: [Duration; PHASES],
}

/// Statistics of a version since the server's start. A call of more images than a batch takes is queued and computed in
/// chunks; `queue` and `phases` count each of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelStats {
    /// Successful calls, from their arrival to their response.
    pub success: DurationTotal,
    /// Calls that were rejected, were late, were cancelled by their caller, or failed inside.
    pub fail: DurationTotal,
    /// Time in the queue.
    pub queue: DurationTotal,
    pub phases: PhaseTotals,
    /// When the last batch was computed, if there was one.
    pub last: Option<SystemTime>,
    /// Batch sizes that occurred, smallest first.
    pub batches: Vec<BatchStats>,
}

/// The statistics of one version.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionStats {
    pub model: ModelName,
    pub version: Version,
    pub stats: ModelStats,
}

/// A count and a total duration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DurationTotal {
    pub count: u64,
    pub total: Duration,
}

/// Where the time of a batch goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PhaseTotals {
    /// Assembling the batch.
    pub input: DurationTotal,
    /// The network.
    pub network: DurationTotal,
    /// Splitting the predictions.
    pub output: DurationTotal,
}

/// Statistics of the batches of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchStats {
    pub images: usize,
    pub phases: PhaseTotals,
}

impl ModelStats {
    /// The number of images that were computed.
    pub fn images(&self) -> u64 {
        self.batches.iter().map(|batch| batch.images as u64 * batch.phases.network.count).sum()
    }

    /// The number of batches that were computed.
    pub fn executions(&self) -> u64 {
        self.batches.iter().map(|batch| batch.phases.network.count).sum()
    }
}

impl StatsRecorder {
    /// A recorder for batches of up to `most` images, which also updates these metrics.
    pub fn new(most: usize, metrics: VersionMetrics) -> Self {
        Self {
            metrics,
            success: Timer::default(),
            fail: Timer::default(),
            queue: Timer::default(),
            phases: Default::default(),
            last: AtomicU64::new(0),
            batches: (0..most).map(|_| BatchCounters::default()).collect(),
        }
    }

    /// Times a call from now on. If the timer is dropped without an outcome, the caller disconnected, perhaps
    /// because the deadline passed.
    pub fn call(&self, deadline: Option<Instant>) -> CallTimer<'_> {
        CallTimer { recorder: self, since: Instant::now(), deadline, outcome: CallOutcome::Cancelled }
    }

    pub fn executed(&self, batch: &ExecutedBatch) {
        let parts = batch.waits.len() as u64;
        self.queue.add(parts, nanos(batch.waits.iter().sum()));
        for wait in &batch.waits {
            self.metrics.queue.observe(wait.as_secs_f64());
        }
        self.metrics.compute.observe(batch.phases.iter().sum::<Duration>().as_secs_f64());
        self.metrics.batch.observe(batch.images as f64);
        for (timer, spent) in self.phases.iter().zip(batch.phases) {
            // Each chunk was in the batch for all of its time.
            timer.add(parts, nanos(spent).saturating_mul(parts));
        }
        if let Some(recorder) = batch.images.checked_sub(1).and_then(|index| self.batches.get(index)) {
            recorder.count.fetch_add(1, Relaxed);
            for (sum, spent) in recorder.nanos.iter().zip(batch.phases) {
                sum.fetch_add(nanos(spent), Relaxed);
            }
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last.store(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    /// The statistics so far.
    pub fn read(&self) -> ModelStats {
        let [input, network, output] = self.phases.each_ref().map(Timer::read);
        let last = self.last.load(Relaxed);
        ModelStats {
            success: self.success.read(),
            fail: self.fail.read(),
            queue: self.queue.read(),
            phases: PhaseTotals { input, network, output },
            last: (last > 0).then(|| UNIX_EPOCH + Duration::from_millis(last)),
            batches: (1..)
                .zip(&self.batches)
                .filter_map(|(images, recorder)| recorder.read(images))
                .collect(),
        }
    }
}

/// Times one call.
#[derive(Debug)]
pub struct CallTimer<'a> {
    recorder: &'a StatsRecorder,
    since: Instant,
    deadline: Option<Instant>,
    outcome: CallOutcome,
}

impl CallTimer<'_> {
    pub fn ended(mut self, outcome: CallOutcome) {
        self.outcome = outcome;
    }
}

impl Drop for CallTimer<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        if self.outcome == CallOutcome::Cancelled
            && self.deadline.is_some_and(|deadline| now + CLOCK_SKEW >= deadline)
        {
            self.outcome = CallOutcome::DeadlineExceeded;
        }
        let timer = match self.outcome {
            CallOutcome::Succeeded => &self.recorder.success,
            CallOutcome::Rejected
            | CallOutcome::DeadlineExceeded
            | CallOutcome::Cancelled
            | CallOutcome::Failed => &self.recorder.fail,
        };
        timer.add(1, nanos(now - self.since));
        self.recorder.metrics.ended(self.outcome);
    }
}

impl Timer {
    fn add(&self, times: u64, nanos: u64) {
        self.count.fetch_add(times, Relaxed);
        self.nanos.fetch_add(nanos, Relaxed);
    }

    fn read(&self) -> DurationTotal {
        DurationTotal {
            count: self.count.load(Relaxed),
            total: Duration::from_nanos(self.nanos.load(Relaxed)),
        }
    }
}

impl BatchCounters {
    fn read(&self, images: usize) -> Option<BatchStats> {
        let count = self.count.load(Relaxed);
        let span =
            |nanos: &AtomicU64| DurationTotal { count, total: Duration::from_nanos(nanos.load(Relaxed)) };
        let [input, network, output] = self.nanos.each_ref().map(span);
        (count > 0).then_some(BatchStats { images, phases: PhaseTotals { input, network, output } })
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{compute::Metrics, ids::ModelName, ids::Version};

    fn recorder(most: usize) -> StatsRecorder {
        let metrics = Metrics::default().inference.version(&ModelName::default(), Version::FIRST);
        StatsRecorder::new(most, metrics)
    }

    fn batch(images: usize, parts: usize) -> ExecutedBatch {
        let micros = Duration::from_micros;
        ExecutedBatch { images, waits: vec![micros(5); parts], phases: [micros(1), micros(5), micros(2)] }
    }

    #[test]
    fn images_and_batches_are_counted_by_the_size_of_the_batch() {
        let recorder = recorder(4);
        assert_eq!(recorder.read(), ModelStats::default());
        for (images, parts) in [(4, 1), (3, 2), (4, 4)] {
            recorder.executed(&batch(images, parts));
        }
        let stats = recorder.read();
        assert_eq!((stats.images(), stats.executions()), (11, 3));
        let sizes = stats.batches.iter().map(|batch| (batch.images, batch.phases.network.count));
        assert_eq!(sizes.collect::<Vec<_>>(), [(3, 1), (4, 2)]);
        assert_eq!(stats.batches[1].phases.output.total, Duration::from_micros(4));
        assert!(stats.last.is_some());
    }

    #[test]
    fn every_part_of_a_batch_has_separate_queue_and_compute_times() {
        let recorder = recorder(4);
        recorder.executed(&batch(3, 2));
        let stats = recorder.read();
        assert_eq!(stats.queue, DurationTotal { count: 2, total: Duration::from_micros(10) });
        assert_eq!(stats.phases.network, DurationTotal { count: 2, total: Duration::from_micros(10) });
    }

    #[test]
    fn a_call_without_a_response_counts_as_failed() {
        let recorder = recorder(1);
        drop(recorder.call(None));
        recorder.call(None).ended(CallOutcome::Succeeded);
        recorder.call(None).ended(CallOutcome::Succeeded);
        let stats = recorder.read();
        assert_eq!((stats.success.count, stats.fail.count), (2, 1));
    }

    #[test]
    fn a_call_that_ends_at_its_deadline_counts_as_late() {
        let recorder = recorder(1);
        let now = Instant::now();
        drop(recorder.call(Some(now)));
        drop(recorder.call(Some(now + Duration::from_secs(3600))));
        drop(recorder.call(None));
        let ended = |outcome| recorder.metrics.count(outcome);
        assert_eq!((ended(CallOutcome::DeadlineExceeded), ended(CallOutcome::Cancelled)), (1, 2));
    }

    #[test]
    fn a_batch_of_an_impossible_size_is_ignored() {
        let recorder = recorder(2);
        recorder.executed(&batch(0, 0));
        recorder.executed(&batch(3, 1));
        assert_eq!(recorder.read().images(), 0);
    }
}
