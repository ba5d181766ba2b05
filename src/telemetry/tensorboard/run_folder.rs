//! The folder of one run: metrics as scalars, weights as histograms, kernels as images.

use std::{
    io,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};

use super::{
    format::{EventContent, EventFile, SessionLog, Summary, Value, ValueKind, has_events},
    weights::{histogram, kernels},
};
use crate::{
    engine::Array,
    train::{BatchReport, EpochReport},
};

/// The event file of one run.
#[derive(Debug)]
pub struct RunFolder {
    file: EventFile,
    batches_per_epoch: u32,
    /// Whether the folder has files from before an interruption of the run, and nothing was added since.
    resumes: bool,
}

impl RunFolder {
    /// Opens the folder of a run below `root`. A resumed run has a further file there.
    pub fn open(root: &Path, run_id: &str, batches_per_epoch: u32) -> io::Result<Self> {
        let folder: PathBuf = root.join(run_id);
        let resumes = has_events(&folder);
        Ok(Self { file: EventFile::begin(&folder, Utc::now())?, batches_per_epoch, resumes })
    }

    /// Adds the metrics of a batch at its step.
    pub fn add_batch(&mut self, time: DateTime<Utc>, batch: &BatchReport) -> io::Result<()> {
        let step = i64::from(batch.step);
        let scalars = [
            ("loss", Some(batch.loss)),
            ("accuracy", Some(batch.accuracy)),
            ("learning_rate", Some(batch.learning_rate)),
            ("images_per_second", Some(batch.images_per_second)),
            ("gradient_norm", batch.gradient_norm),
        ];
        self.resume(time, step)?;
        self.write(time, step, values("batch", scalars))
    }

    /// Adds the metrics of an epoch at its last step.
    pub fn add_epoch(&mut self, time: DateTime<Utc>, epoch: &EpochReport) -> io::Result<()> {
        let step = i64::from(epoch.epoch) * i64::from(self.batches_per_epoch);
        let scalars = [
            ("train_loss", Some(epoch.train_loss)),
            ("train_accuracy", Some(epoch.train_accuracy)),
            ("validation_loss", epoch.validation.map(|validation| validation.loss)),
            ("validation_accuracy", epoch.validation.map(|validation| validation.accuracy)),
            ("seconds", Some(epoch.seconds)),
            ("images_per_second", Some(epoch.images_per_second)),
        ];
        // The last batch of the epoch has the same step, and stays valid where the epoch is the first record.
        self.resume(time, step + 1)?;
        self.write(time, step, values("epoch", scalars))
    }

    /// Adds the weights after a step.
    pub fn add_weights(&mut self, time: DateTime<Utc>, step: u32, arrays: &[Array]) -> io::Result<()> {
        let mut values = Vec::new();
        for array in arrays {
            if let Some(histogram) = histogram(&array.values) {
                let tag = format!("weights/{}", array.name);
                values.push(Value { tag, kind: Some(ValueKind::Histo(histogram)) });
            }
            if let Some(image) = kernels(array) {
                values.push(Value {
                    tag: format!("kernels/{}", array.name),
                    kind: Some(ValueKind::Image(image)),
                });
            }
        }
        self.resume(time, i64::from(step) + 1)?;
        self.write(time, step.into(), values)
    }

    /// Begins the file of a resumed run: its steps after the last checkpoint are trained again, so that records
    /// from the step `void_from` on are void.
    fn resume(&mut self, time: DateTime<Utc>, void_from: i64) -> io::Result<()> {
        match std::mem::take(&mut self.resumes) {
            true => self.file.write(time, void_from, EventContent::SessionLog(SessionLog::START)),
            false => Ok(()),
        }
    }

    fn write(&mut self, time: DateTime<Utc>, step: i64, value: Vec<Value>) -> io::Result<()> {
        if value.is_empty() {
            return Ok(());
        }
        self.file.write(time, step, EventContent::Summary(Summary { value }))
    }
}

/// The known metrics of a report as scalars, named as the fields of the contract.
fn values<const N: usize>(prefix: &str, scalars: [(&str, Option<f64>); N]) -> Vec<Value> {
    let value = |(name, number): (&str, Option<f64>)| {
        Some(Value { tag: format!("{prefix}/{name}"), kind: Some(ValueKind::SimpleValue(number? as f32)) })
    };
    scalars.into_iter().filter_map(value).collect()
}
