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
    queue: Mutex<Option<SyncSender<Message>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    weights_waiting: std::sync::Arc<AtomicUsize>,
    left_out: AtomicU64,
}

#[derive(Debug)]
enum Message {
    Begins { run: RunId, batches_per_epoch: u32 },
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
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.as_ref().is_some_and(|queue| queue.try_send(message).is_ok()) {
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
        self.hand(Message::Begins { run, batches_per_epoch: started.batches_per_epoch });
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

/// Writes what comes to the folder of the run that trains; a folder that cannot be written ends the
/// writing of that run alone.
fn write(root: &Path, messages: &Receiver<Message>, weights_waiting: &AtomicUsize) {
    let mut folder: Option<RunFolder> = None;
    for message in messages {
        let written = match message {
            Message::Begins { run, batches_per_epoch } => {
                let batches = i32::try_from(batches_per_epoch).unwrap_or(i32::MAX);
                RunFolder::open(root, &run.to_string(), batches).map(|opened| folder = Some(opened))
            }
            Message::Happened(event) => folder.as_mut().map_or(Ok(()), |folder| folder.add(&event)),
            Message::Weights { time, step, arrays } => {
                weights_waiting.fetch_sub(1, Ordering::AcqRel);
                folder.as_mut().map_or(Ok(()), |folder| folder.add_weights(time, step, &arrays))
            }
        };
        if let Err(error) = written {
            tracing::warn!(%error, folder = %root.display(), "cannot write event files of a run");
            folder = None;
        }
    }
}
