//! One run's folder: its events as scalars, its weights as histograms and pictures.

use std::{
    io,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use prost_reflect::Value as Field;

use super::{
    format::{EventFile, Kind, SessionLog, Summary, Value, What, has_events},
    weights::{histogram, kernels},
};
use crate::{
    engine::Array,
    pb::{
        self,
        digitd::v1::{TrainEvent, train_event},
    },
};

/// The event file of one run.
#[derive(Debug)]
pub struct RunFolder {
    file: EventFile,
    batches_per_epoch: i32,
    /// The folder has files of the run from before an interruption, and nothing was added since.
    resumes: bool,
}

impl RunFolder {
    /// Opens the folder of a run below `root`. A run that goes on has a further file there.
    pub fn open(root: &Path, run_id: &str, batches_per_epoch: i32) -> io::Result<Self> {
        let folder: PathBuf = root.join(run_id);
        let resumes = has_events(&folder);
        Ok(Self { file: EventFile::begin(&folder, Utc::now())?, batches_per_epoch, resumes })
    }

    /// Adds the numbers of a batch or an epoch; of an epoch at the step that it ended with. Other
    /// events have none.
    pub fn add(&mut self, event: &TrainEvent) -> io::Result<()> {
        // The last batch of an epoch has the epoch's step, and is not void where the epoch is first to come.
        let (prefix, step, void_from) = match &event.event {
            Some(train_event::Event::Batch(batch)) => ("batch", batch.step, batch.step),
            Some(train_event::Event::Epoch(epoch)) => {
                let step = epoch.epoch.saturating_mul(self.batches_per_epoch);
                ("epoch", step, step.saturating_add(1))
            }
            _ => return Ok(()),
        };
        let time = event.time.as_ref();
        let time = time.and_then(|time| DateTime::from_timestamp(time.seconds, time.nanos.unsigned_abs()));
        let time = time.unwrap_or_default();
        self.start(time, void_from.into())?;
        self.write(time, step.into(), scalars(event, prefix))
    }

    /// Adds the weights as they are after so many steps.
    pub fn add_weights(&mut self, time: DateTime<Utc>, step: u32, arrays: &[Array]) -> io::Result<()> {
        let mut values = Vec::new();
        for array in arrays {
            if let Some(histogram) = histogram(&array.values) {
                let tag = format!("weights/{}", array.name);
                values.push(Value { tag, kind: Some(Kind::Histo(histogram)) });
            }
            if let Some(image) = kernels(array) {
                values.push(Value { tag: format!("kernels/{}", array.name), kind: Some(Kind::Image(image)) });
            }
        }
        self.start(time, i64::from(step) + 1)?;
        self.write(time, step.into(), values)
    }

    /// Before the first record of a run that goes on: steps after the last checkpoint are trained again,
    /// and what was written from this one on is void.
    fn start(&mut self, time: DateTime<Utc>, void_from: i64) -> io::Result<()> {
        match std::mem::take(&mut self.resumes) {
            true => self.file.write(time, void_from, What::SessionLog(SessionLog::START)),
            false => Ok(()),
        }
    }

    fn write(&mut self, time: DateTime<Utc>, step: i64, value: Vec<Value>) -> io::Result<()> {
        if value.is_empty() {
            return Ok(());
        }
        self.file.write(time, step, What::Summary(Summary { value }))
    }
}

/// The real numbers of a report, each under its field's name.
fn scalars(event: &TrainEvent, prefix: &str) -> Vec<Value> {
    let message = pb::dynamic("TrainEvent", event);
    let report = message.get_field_by_name(prefix);
    let Some(report) = report.as_deref().and_then(Field::as_message) else { return Vec::new() };
    let scalar = |(field, value): (prost_reflect::FieldDescriptor, &Field)| {
        let tag = format!("{prefix}/{}", field.name());
        Some(Value { tag, kind: Some(Kind::SimpleValue(value.as_f64()? as f32)) })
    };
    report.fields().filter_map(scalar).collect()
}
