//! Exports a run as an event file of TensorBoard: the messages of its batches and epochs become the domain
//! events that the writer takes.

use std::path::Path;

use chrono::{DateTime, Utc};

use crate::{
    cli::error::Error,
    pb::digitd::v1::{self, TrainEvent, train_event::Event},
    report::run::RunHistory,
    telemetry::RunFolder,
    train::{BatchReport, EpochReport, LossAndAccuracy},
};

/// Writes the batches and epochs of a run to a folder of its own below `root`.
pub fn write_event_file(root: &str, history: &RunHistory) -> Result<(), Error> {
    if root == "-" {
        return Err(Error::Usage("event files go to a folder: name one with --output".to_owned()));
    }
    let batches_per_epoch = history.batches_per_epoch().unsigned_abs();
    let folder = RunFolder::open(Path::new(root), &history.run.run_id, batches_per_epoch);
    let mut folder = folder.map_err(Error::io("write event files in", root))?;
    for event in &history.events {
        add(&mut folder, event).map_err(Error::io("write event files in", root))?;
    }
    Ok(())
}

fn add(folder: &mut RunFolder, event: &TrainEvent) -> std::io::Result<()> {
    match &event.event {
        Some(Event::Batch(batch)) => folder.add_batch(time(event), &batch_report(batch)),
        Some(Event::Epoch(epoch)) => folder.add_epoch(time(event), &epoch_report(epoch)),
        _ => Ok(()),
    }
}

fn time(event: &TrainEvent) -> DateTime<Utc> {
    let time = event.time.as_ref();
    let time = time.and_then(|time| DateTime::from_timestamp(time.seconds, time.nanos.unsigned_abs()));
    time.unwrap_or_default()
}

fn batch_report(message: &v1::BatchReport) -> BatchReport {
    BatchReport {
        epoch: message.epoch.unsigned_abs(),
        batch: message.batch.unsigned_abs(),
        step: message.step.unsigned_abs(),
        loss: known(message.loss),
        accuracy: known(message.accuracy),
        learning_rate: known(message.learning_rate),
        images_per_second: known(message.images_per_second),
        gradient_norm: message.gradient_norm,
    }
}

fn epoch_report(message: &v1::EpochReport) -> EpochReport {
    let validation = message.validation_loss.zip(message.validation_accuracy);
    EpochReport {
        epoch: message.epoch.unsigned_abs(),
        train_loss: known(message.train_loss),
        train_accuracy: known(message.train_accuracy),
        validation: validation.map(|(loss, accuracy)| LossAndAccuracy { loss, accuracy }),
        seconds: known(message.seconds),
        images_per_second: known(message.images_per_second),
    }
}

/// A number that every server sends; TensorBoard shows a gap where it is missing.
fn known(number: Option<f64>) -> f64 {
    number.unwrap_or(f64::NAN)
}
