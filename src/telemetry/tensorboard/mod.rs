//! Runs as TensorBoard's event files, written while they train: scalars of batches and epochs,
//! histograms of the weights and pictures of kernels after every epoch. A thread of its own writes;
//! what a slow disk does not take in time is left out, with a warning, and never slows training.

mod format;
mod run;
#[cfg(test)]
mod tests;
mod weights;

use std::{
    io,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use chrono::{DateTime, Utc};

pub use run::RunFolder;

use crate::{
    engine::{Array, Observer},
    ids::RunId,
    pb::digitd::v1::TrainEvent,
    server,
    train::{Event, Started},
};

/// Reports that may wait for the disk.
const CAPACITY: usize = 1024;

/// Copies of all weights that may wait for it.
const MOST_WEIGHTS: usize = 2;

/// Writes event files below a folder, a folder of its own for each run.
#[derive(Debug)]
pub struct TensorBoard {
    /// None once it is closed.
    queue: Mutex<Option<SyncSender<(Part, Message)>>>,
    /// What trains now; the last that began.
    part: Mutex<Part>,
    thread: Mutex<Option<JoinHandle<()>>>,
    weights_waiting: std::sync::Arc<AtomicUsize>,
    left_out: AtomicU64,
}

/// A run from its beginning, or from where it was resumed, to its end. It goes with every message, so that
/// no message that was left out puts what follows into another run's folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Part {
    run: Option<RunId>,
    batches_per_epoch: u32,
    /// Tells the parts of one run apart.
    number: u64,
}

#[derive(Debug)]
enum Message {
    Happened(Box<TrainEvent>),
    Weights { time: DateTime<Utc>, step: u32, arrays: Vec<Array> },
}

impl TensorBoard {
    /// Starts the thread that writes. Errors when the folder cannot be made.
    pub fn start(root: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(root)?;
        let (queue, messages) = sync_channel(CAPACITY);
        let weights_waiting = std::sync::Arc::<AtomicUsize>::default();
        let (root, waiting) = (root.to_owned(), weights_waiting.clone());
        let thread = thread::Builder::new()
            .name("digitd-board".to_owned())
            .spawn(move || write(&root, &messages, &waiting))?;
        Ok(Self {
            queue: Mutex::new(Some(queue)),
            part: Mutex::default(),
            thread: Mutex::new(Some(thread)),
            weights_waiting,
            left_out: AtomicU64::new(0),
        })
    }

    /// Takes no more, and returns when all that waits is written. Not for async threads.
    pub fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that writes event files panicked");
        }
    }

    fn hand(&self, message: Message) -> bool {
        let part = *self.part.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.as_ref().is_some_and(|queue| queue.try_send((part, message)).is_ok()) {
            return true;
        }
        self.leave_out();
        false
    }

    fn leave_out(&self) {
        let left_out = self.left_out.fetch_add(1, Ordering::Relaxed) + 1;
        if left_out.is_power_of_two() {
            tracing::warn!(left_out, "the folder of event files is too slow: TensorBoard will not show all");
        }
    }
}

impl Observer for TensorBoard {
    fn begins(&self, run: RunId, started: &Started) {
        let mut part = self.part.lock().unwrap_or_else(PoisonError::into_inner);
        let (number, batches_per_epoch) = (part.number + 1, started.batches_per_epoch);
        *part = Part { run: Some(run), batches_per_epoch, number };
    }

    fn happened(&self, run: RunId, time: DateTime<Utc>, event: &Event) {
        if matches!(event, Event::Batch(_) | Event::Epoch(_)) {
            self.hand(Message::Happened(Box::new(server::train_event(run, 0, time, event))));
        }
    }

    fn wants_weights(&self) -> bool {
        let wanted = self.weights_waiting.load(Ordering::Acquire) < MOST_WEIGHTS;
        if !wanted {
            self.leave_out();
        }
        wanted
    }

    fn weights(&self, _run: RunId, step: u32, arrays: Vec<Array>) {
        self.weights_waiting.fetch_add(1, Ordering::AcqRel);
        if !self.hand(Message::Weights { time: Utc::now(), step, arrays }) {
            self.weights_waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Writes what comes to the folder of the run that it is of; a folder that cannot be written ends the
/// writing of that part of a run alone.
fn write(root: &Path, messages: &Receiver<(Part, Message)>, weights_waiting: &AtomicUsize) {
    let (mut open, mut folder) = (Part::default(), None);
    for (part, message) in messages {
        if matches!(message, Message::Weights { .. }) {
            weights_waiting.fetch_sub(1, Ordering::AcqRel);
        }
        let opened = if part == open { Ok(folder.take()) } else { part.folder(root) };
        open = part;
        let written = opened.and_then(|opened| {
            let Some(mut opened) = opened else { return Ok(None) };
            match message {
                Message::Happened(event) => opened.add(&event)?,
                Message::Weights { time, step, arrays } => opened.add_weights(time, step, &arrays)?,
            }
            Ok(Some(opened))
        });
        folder = written.unwrap_or_else(|error| {
            tracing::warn!(%error, folder = %root.display(), "cannot write event files of a run");
            None
        });
    }
}

impl Part {
    fn folder(self, root: &Path) -> io::Result<Option<RunFolder>> {
        let batches = i32::try_from(self.batches_per_epoch).unwrap_or(i32::MAX);
        self.run.map(|run| RunFolder::open(root, &run.to_string(), batches)).transpose()
    }
}
