//! The part of a run that the training thread does: it makes the network, waits until the run is stored, and takes
//! the steps. A panic or an error of libtorch ends the run; the thread continues.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{
    context::DatasetDigests,
    hooks::Hooks,
    training_job::{JobChannels, RunHandles, TrainingJob},
};
use crate::{
    compute::{Error, decode_network},
    data::Splits,
    train::{FitResult, RunStarted, Trainer},
};

/// Prepares a run, sends what it will be, waits for its handles and trains.
pub fn run(mut job: TrainingJob, channels: JobChannels) {
    let JobChannels { prepared, handles, finished } = channels;
    let made = catch_unwind(AssertUnwindSafe(|| prepare(&job)));
    let made = made.unwrap_or_else(|panic| Err(Error::panicked("preparing a run", &*panic)));
    let mut trainer = match made {
        Ok(trainer) => trainer,
        Err(error) => {
            // If the receiver is dropped, the result is not needed; likewise below.
            let _ = prepared.send(Err(error));
            return;
        }
    };
    let DatasetDigests { train: digest, validation } = job.digests.clone();
    let (dataset_digest, validation_digest) = (Some(digest), Some(validation));
    let started = RunStarted { dataset_digest, validation_digest, ..trainer.started() };
    // The device holds the images now; their size and class names are kept.
    job.splits = empty(&job.splits);
    if prepared.send(Ok(started)).is_err() {
        return;
    }
    let Ok(handles) = handles.blocking_recv() else { return };
    if let Some(observer) = &job.observer {
        observer.started(handles.run, &trainer.started());
    }
    let outcome = catch_unwind(AssertUnwindSafe(|| train(&job, &handles, &mut trainer)));
    let outcome = outcome.unwrap_or_else(|panic| Err(Error::panicked("training", &*panic)));
    handles.snapshots.close();
    // The supervisor may end the log once it has the outcome, so nothing of this thread may hold it then.
    drop(handles);
    let _ = finished.send(outcome);
}

fn prepare(job: &TrainingJob) -> Result<Trainer, Error> {
    let initial = job.initial.as_ref();
    let initial =
        initial.map(|(manifest, weights)| decode_network(manifest, weights, job.device)).transpose()?;
    let mut trainer = Trainer::new(job.config.clone(), initial.as_ref(), &job.splits, job.device)?;
    match job.resume.as_ref().map(|resume| &resume.checkpoint) {
        None => {}
        Some(None) => trainer.restart(),
        Some(Some((_, bytes))) => drop(trainer.resume(bytes)?),
    }
    Ok(trainer)
}

fn train(job: &TrainingJob, handles: &RunHandles, trainer: &mut Trainer) -> Result<FitResult, Error> {
    let mut hooks = Hooks::new(job, handles);
    hooks.report_resumed_checkpoint(trainer);
    Ok(trainer.fit(&mut hooks)?)
}

fn empty(splits: &Splits) -> Splits {
    let none = splits.train.select(&[]);
    Splits { train: none.clone(), validation: none.clone(), test: none }
}
