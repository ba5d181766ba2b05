//! The event log and its watchers: order, gaps, crashes, slow watchers, failing stores.

use super::*;
use crate::{
    ids::RunId,
    inspect::Report,
    registry::Registry,
    runs::watch::Watch,
    train::{
        BatchReport, EpochReport, FinishReason, InspectAt, Inspection, LossAndAccuracy, RunFinished,
        RunStarted, RunState, TrainConfig,
    },
};

struct Fixture {
    registry: Registry,
    lease: Arc<Lease>,
    log: Arc<RunLog>,
    events: Arc<EventSender>,
    ended: Arc<std::sync::atomic::AtomicBool>,
    stop: Arc<StopSignal>,
}

impl Fixture {
    async fn new() -> Self {
        Self::on(Registry::open("memory:").await.unwrap()).await
    }

    async fn on(registry: Registry) -> Self {
        let (run, lease) = (RunId::new(), Arc::new(Lease::new()));
        let ended = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (at_end, stop) = (ended.clone(), Arc::new(StopSignal::default()));
        let init = LogInit {
            store: registry.runs(),
            lease: lease.clone(),
            metrics: Arc::new(Metrics::default()),
            summary: SummaryBuilder::new(run, TrainConfig::default(), Utc::now()),
            stop: stop.clone(),
            on_end: Box::new(move || at_end.store(true, std::sync::atomic::Ordering::SeqCst)),
        };
        let (log, events) = open(init, started()).await.unwrap();
        Self { registry, lease, log, events: Arc::new(events), ended, stop }
    }

    async fn push(&self, events: Vec<Event>) {
        let sender = self.events.clone();
        let push = move || events.into_iter().for_each(|event| sender.blocking_send(event).unwrap());
        tokio::task::spawn_blocking(push).await.unwrap();
    }

    fn live(&self, after: u32) -> Watch {
        Watch::live(self.log.clone(), after)
    }

    fn stored(&self, after: u32) -> Watch {
        Watch::stored(self.log.run, self.registry.runs(), after)
    }

    async fn persisted(&self) -> Vec<Record> {
        let mut records = Vec::new();
        for first in self.log.store.chunks(self.log.run).await.unwrap() {
            records.extend(event_chunk::decode(&self.log.store.events(self.log.run, first).await.unwrap()));
        }
        records
    }

    async fn reach(&self, sequence: u32) {
        self.log.tail().wait_for(|tail| tail.newest >= sequence).await.unwrap();
    }
}

fn started() -> Event {
    Event::Started(Box::new(RunStarted {
        config: TrainConfig::default(),
        train_images: 50_000,
        validation_images: 10_000,
        batches_per_epoch: 500,
        total_parameters: 20_350,
        device: "cpu".to_owned(),
        resumed: None,
        dataset_digest: None,
        validation_digest: None,
    }))
}

fn batch(step: u32) -> Event {
    Event::Batch(BatchReport {
        epoch: 1,
        batch: step,
        step,
        loss: 0.25,
        accuracy: 0.5,
        learning_rate: 0.001,
        images_per_second: 10_000.0,
        gradient_norm: Some(1.5),
    })
}

fn epoch(epoch: u32, loss: f64, accuracy: f64) -> Event {
    Event::Epoch(EpochReport {
        epoch,
        train_loss: f64::NAN,
        train_accuracy: 0.5,
        validation: Some(LossAndAccuracy { loss, accuracy }),
        seconds: 1.0,
        images_per_second: 10_000.0,
    })
}

fn finished() -> Event {
    Event::Finished(RunFinished {
        state: RunState::Completed,
        reason: FinishReason::Completed,
        version: Some(3),
        best_epoch: None,
        validation_accuracy: None,
        message: String::new(),
        seconds: 1.0,
    })
}

/// Returns everything that a watcher receives until the end.
async fn all(mut watch: Watch) -> Vec<u32> {
    let mut sequences = Vec::new();
    while let Some(records) = watch.next().await.unwrap() {
        assert!(!records.is_empty());
        sequences.extend(records.iter().map(|record| record.sequence));
    }
    assert!(watch.next().await.unwrap().is_none(), "the end stays the end");
    sequences
}

#[tokio::test(start_paused = true)]
async fn every_watcher_gets_every_event_once_and_in_order() {
    let run = Fixture::new().await;
    let early = tokio::spawn(all(run.live(0)));
    // The records span several chunks of 64 KiB.
    for part in 0..10 {
        run.push((1..=200).map(|step| batch(part * 200 + step)).collect()).await;
    }
    let midway = tokio::spawn(all(run.live(1000)));
    run.push(vec![epoch(1, 0.1, 0.9), finished()]).await;
    let expected: Vec<u32> = (1..=2003).collect();
    assert_eq!(early.await.unwrap(), expected);
    assert_eq!(midway.await.unwrap(), expected[1000..]);
    assert_eq!(all(run.live(0)).await, expected);
    assert_eq!(all(run.stored(0)).await, expected);
    assert_eq!(all(run.stored(1999)).await, expected[1999..]);
    assert!(all(run.live(2003)).await.is_empty());
    assert!(all(run.stored(u32::MAX)).await.is_empty());
    assert!(run.log.store.chunks(run.log.run).await.unwrap().len() > 2);
}

#[tokio::test(start_paused = true)]
async fn large_events_that_arrive_together_are_read_back() {
    let run = Fixture::new().await;
    let inspection = |step| Inspection {
        at: InspectAt { epoch: 1, batch: step, shapes: false, contents: true },
        step,
        label: None,
        report: Report {
            input_shape: vec![1, 1, 28, 28],
            layers: Vec::new(),
            total_parameters: 0,
            total_multiply_adds: 0,
            logits: vec![-0.123_456_789_012_345_6; 1 << 16],
            probabilities: Vec::new(),
            sample_images: None,
            bytes_per_value: 4,
        },
    };
    // These are 40 MB, of which the store reads 8 at once.
    run.push(
        (1..=32).map(|step| Event::Inspection(Box::new(inspection(step)))).chain([finished()]).collect(),
    )
    .await;
    let expected: Vec<u32> = (1..=34).collect();
    assert_eq!(all(run.live(0)).await, expected);
    assert_eq!(all(run.stored(0)).await, expected);
}

#[tokio::test(start_paused = true)]
async fn what_a_watcher_sees_is_persisted_already() {
    let run = Fixture::new().await;
    let mut watch = run.live(0);
    for step in 1..=20 {
        run.push(vec![batch(step)]).await;
        run.reach(step + 1).await;
        let sequence = watch.next().await.unwrap().unwrap().last().unwrap().sequence;
        assert!(run.persisted().await.last().unwrap().sequence >= sequence);
    }
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_never_reads_blocks_nobody() {
    let run = Fixture::new().await;
    let mut slow = run.live(0);
    assert_eq!(slow.next().await.unwrap().unwrap().len(), 1);
    let rest: Vec<Event> = (1..=5000).map(batch).chain([finished()]).collect();
    // This returns only because the log accepts all events, far more than its queue holds.
    run.push(rest).await;
    run.reach(5002).await;
    assert!(run.log.buffered() < 1500, "old events are not kept in memory");
    assert_eq!(all(slow).await, (2..=5002).collect::<Vec<u32>>());
}

#[tokio::test(start_paused = true)]
async fn reports_are_buffered_and_important_events_written_at_once() {
    let run = Fixture::new().await;
    let before = Instant::now();
    run.push(vec![epoch(1, 0.1, 0.9)]).await;
    run.reach(2).await;
    assert_eq!(before.elapsed(), Duration::ZERO);
    // Two reports that follow at once are buffered, and the watcher gets both together.
    let mut watch = run.live(2);
    run.push(vec![batch(1), batch(2)]).await;
    assert_eq!(watch.next().await.unwrap().unwrap().len(), 2);
    assert_eq!(before.elapsed().as_millis() as u64, GATHER.as_millis() as u64);
}

#[tokio::test(start_paused = true)]
async fn the_end_frees_the_slot_before_it_is_seen() {
    let run = Fixture::new().await;
    let mut watch = run.live(1);
    run.push(vec![finished()]).await;
    assert_eq!(watch.next().await.unwrap().unwrap().len(), 1);
    assert!(run.ended.load(std::sync::atomic::Ordering::SeqCst));
    let state: StoredState = run.log.store.state(run.log.run).await.unwrap();
    assert_eq!(state.summary, run.log.summary());
    assert_eq!((state.summary.state, state.summary.last_sequence), (RunState::Completed, 2));
    assert_eq!(state.server, *run.lease.server());
}

#[tokio::test(start_paused = true)]
async fn a_summary_has_the_best_epoch_and_survives_its_file() {
    let run = Fixture::new().await;
    run.push(vec![epoch(1, 0.2, 0.9), epoch(2, 0.1, 0.95), epoch(3, 0.3, 0.95), finished()]).await;
    run.reach(5).await;
    let summary = run.log.summary();
    assert_eq!((summary.best_epoch, summary.epoch), (Some(2), 3));
    assert_eq!(
        (summary.validation_loss, summary.version.map(crate::ids::Version::get)),
        (Some(0.3), Some(3))
    );
    let state: StoredState = run.log.store.state(run.log.run).await.unwrap();
    assert!(state.summary.train_loss.unwrap().is_nan());
}

#[tokio::test(start_paused = true)]
async fn a_truncated_line_loses_no_other_event() {
    let run = Fixture::new().await;
    run.push(vec![batch(1), batch(2), finished()]).await;
    run.reach(4).await;
    let mut lines = run.log.store.events(run.log.run, 1).await.unwrap().to_vec();
    let second = lines.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    lines[second] = b'?';
    run.log.store.put_events(run.log.run, 1, lines).await.unwrap();
    assert_eq!(all(run.stored(0)).await, [1, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_watcher_at_another_server_follows_through_the_store() {
    let run = Fixture::new().await;
    let other = tokio::spawn(all(run.stored(0)));
    run.push(vec![batch(1), epoch(1, 0.1, 0.9)]).await;
    run.reach(3).await;
    run.push(vec![finished()]).await;
    assert_eq!(other.await.unwrap(), [1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_permanent_store_failure_ends_the_log_and_frees_the_slot() {
    let folder = tempfile::tempdir().unwrap();
    let run = Fixture::on(Registry::open(folder.path().to_str().unwrap()).await.unwrap()).await;
    let mut watch = run.live(1);
    let events = folder.path().join("runs").join(run.log.run.to_string()).join("events");
    std::fs::remove_dir_all(&events).unwrap();
    std::fs::write(&events, "in the way").unwrap();
    run.push(vec![batch(1)]).await;
    let error = watch.next().await.unwrap_err();
    assert!(matches!(error, Error::Backend { .. }), "{error:?}");
    assert!(run.ended.load(std::sync::atomic::Ordering::SeqCst));
    assert_eq!(run.stop.requested(), Some(StopReason::LogFailed));
    let sender = run.events.clone();
    let rejected = tokio::task::spawn_blocking(move || sender.blocking_send(batch(2)).is_err());
    assert!(rejected.await.unwrap());
}
