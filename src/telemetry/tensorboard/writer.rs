//! The observer that writes event files. A thread of its own writes; events that a slow disk does not accept in
//! time are dropped with a warning, so that training is never slowed.

use std::{
    io,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use chrono::{DateTime, Utc};

use super::run_folder::RunFolder;
use crate::{
    engine::{Array, Observer},
    ids::RunId,
    train::{BatchReport, EpochReport, Event, RunStarted},
};

/// Records that may wait for the disk.
const CAPACITY: usize = 1024;

/// Copies of the weights that may wait for the disk.
const MAX_WAITING_WEIGHTS: usize = 2;

/// Writes event files, each run in a folder of its own below a common one.
#[derive(Debug)]
pub struct TensorBoard {
    /// The records for the thread; none once this is closed.
    pub(super) queue: Mutex<Option<SyncSender<(RunSegment, Record)>>>,
    /// The segment that trains now.
    pub(super) segment: Mutex<RunSegment>,
    pub(super) thread: Mutex<Option<JoinHandle<()>>>,
    pub(super) weights_waiting: Arc<AtomicUsize>,
    pub(super) dropped: AtomicU64,
}

/// A run from its start, or from where it was resumed, to its end. Every record carries its segment, so that a
/// dropped one never puts the following records into the folder of another run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RunSegment {
    run: Option<RunId>,
    batches_per_epoch: u32,
    /// Distinguishes the segments of one run.
    number: u64,
}

#[derive(Debug)]
pub(super) enum Record {
    Batch(DateTime<Utc>, BatchReport),
    Epoch(DateTime<Utc>, EpochReport),
    Weights { time: DateTime<Utc>, step: u32, arrays: Vec<Array> },
}

impl TensorBoard {
    /// Starts the thread that writes. Errors when the folder cannot be created.
    pub fn start(root: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(root)?;
        let (queue, records) = sync_channel(CAPACITY);
        let weights_waiting = Arc::<AtomicUsize>::default();
        let (root, waiting) = (root.to_owned(), weights_waiting.clone());
        let thread = thread::Builder::new()
            .name("digitd-board".to_owned())
            .spawn(move || write(&root, &records, &waiting))?;
        Ok(Self {
            queue: Mutex::new(Some(queue)),
            segment: Mutex::default(),
            thread: Mutex::new(Some(thread)),
            weights_waiting,
            dropped: AtomicU64::new(0),
        })
    }

    /// Stops accepting records, and returns when all that wait are written. It blocks, so it is not for async
    /// threads.
    pub fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that writes event files panicked");
        }
    }

    /// Queues a record; returns whether it was accepted.
    pub(super) fn enqueue(&self, record: Record) -> bool {
        let segment = *self.segment.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.as_ref().is_some_and(|queue| queue.try_send((segment, record)).is_ok()) {
            return true;
        }
        self.count_dropped();
        false
    }

    fn count_dropped(&self) {
        let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
        if dropped.is_power_of_two() {
            tracing::warn!(dropped, "the folder of event files is too slow: TensorBoard will not show all");
        }
    }
}

impl Observer for TensorBoard {
    fn started(&self, run: RunId, started: &RunStarted) {
        let mut segment = self.segment.lock().unwrap_or_else(PoisonError::into_inner);
        let (number, batches_per_epoch) = (segment.number + 1, started.batches_per_epoch);
        *segment = RunSegment { run: Some(run), batches_per_epoch, number };
    }

    fn event(&self, _run: RunId, time: DateTime<Utc>, event: &Event) {
        let record = match event {
            Event::Batch(batch) => Record::Batch(time, *batch),
            Event::Epoch(epoch) => Record::Epoch(time, *epoch),
            Event::Queued(_)
            | Event::Started(_)
            | Event::Inspection(_)
            | Event::Warning(_)
            | Event::Checkpoint(_)
            | Event::Finished(_) => return,
        };
        self.enqueue(record);
    }

    fn wants_weights(&self) -> bool {
        let has_capacity = self.weights_waiting.load(Ordering::Acquire) < MAX_WAITING_WEIGHTS;
        if !has_capacity {
            self.count_dropped();
        }
        has_capacity
    }

    fn weights(&self, _run: RunId, step: u32, arrays: Vec<Array>) {
        self.weights_waiting.fetch_add(1, Ordering::AcqRel);
        if !self.enqueue(Record::Weights { time: Utc::now(), step, arrays }) {
            self.weights_waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Writes each record to the folder of its run. A folder that cannot be written ends the writing of that
/// segment alone.
pub(super) fn write(root: &Path, records: &Receiver<(RunSegment, Record)>, weights_waiting: &AtomicUsize) {
    let (mut open, mut folder) = (RunSegment::default(), None);
    for (segment, record) in records {
        if matches!(record, Record::Weights { .. }) {
            weights_waiting.fetch_sub(1, Ordering::AcqRel);
        }
        let opened = if segment == open { Ok(folder.take()) } else { segment.open_folder(root) };
        open = segment;
        let written = opened.and_then(|opened| {
            let Some(mut opened) = opened else { return Ok(None) };
            match record {
                Record::Batch(time, batch) => opened.add_batch(time, &batch)?,
                Record::Epoch(time, epoch) => opened.add_epoch(time, &epoch)?,
                Record::Weights { time, step, arrays } => opened.add_weights(time, step, &arrays)?,
            }
            Ok(Some(opened))
        });
        folder = written.unwrap_or_else(|error| {
            tracing::warn!(%error, folder = %root.display(), "cannot write event files of a run");
            None
        });
    }
}

impl RunSegment {
    fn open_folder(self, root: &Path) -> io::Result<Option<RunFolder>> {
        let open = |run: RunId| RunFolder::open(root, &run.to_string(), self.batches_per_epoch);
        self.run.map(open).transpose()
    }
}
