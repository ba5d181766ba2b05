//! The events of a run → those of the contract.

use chrono::{DateTime, Utc};

use super::{inspect_at::from_inspection, request::from_train_config, warning::from_warning};
use crate::{
    ids::RunId,
    pb::digitd::v1::{self, train_event},
    server::convert::shared::{enums::ContractEnum, field::int, time::from_time},
    train::{Event, RunFinished, RunPlan, RunStarted},
};

/// One event of a run; `sequence` counts from 1.
pub fn from_event(run: RunId, sequence: u32, time: DateTime<Utc>, event: &Event) -> v1::TrainEvent {
    v1::TrainEvent {
        run_id: run.to_string(),
        sequence: int(sequence),
        time: Some(from_time(time)),
        event: Some(from_kind(event)),
    }
}

/// The plan of a request on this device, which is an event of no run.
pub fn from_plan(plan: &RunPlan, device: String) -> v1::TrainEvent {
    let plan = v1::RunPlan {
        request: Some(from_train_config(&plan.config)),
        train_images: int(plan.train_images),
        validation_images: Some(int(plan.validation_images)),
        batches_per_epoch: int(plan.batches_per_epoch),
        total_steps: int(plan.total_steps),
        total_parameters: int(plan.total_parameters),
        multiply_adds: int(plan.multiply_adds),
        estimated_memory_megabytes: int(plan.memory_bytes.div_ceil(1_000_000)),
        device,
    };
    let event = Some(train_event::Event::Validated(plan));
    v1::TrainEvent { run_id: String::new(), sequence: 0, time: Some(from_time(Utc::now())), event }
}

fn from_kind(event: &Event) -> train_event::Event {
    match event {
        Event::Queued(queued) => train_event::Event::Queued(v1::RunQueued {
            behind_run_id: queued.behind.to_string(),
            position: int(queued.position),
            request: Some(from_train_config(&queued.config)),
        }),
        Event::Started(started) => train_event::Event::Started(from_started(started)),
        Event::Batch(batch) => train_event::Event::Batch(v1::BatchReport {
            epoch: int(batch.epoch),
            batch: int(batch.batch),
            step: int(batch.step),
            loss: Some(batch.loss),
            accuracy: Some(batch.accuracy),
            learning_rate: Some(batch.learning_rate),
            images_per_second: Some(batch.images_per_second),
            gradient_norm: batch.gradient_norm,
        }),
        Event::Epoch(epoch) => train_event::Event::Epoch(v1::EpochReport {
            epoch: int(epoch.epoch),
            train_loss: Some(epoch.train_loss),
            train_accuracy: Some(epoch.train_accuracy),
            validation_loss: epoch.validation.map(|measured| measured.loss),
            validation_accuracy: epoch.validation.map(|measured| measured.accuracy),
            seconds: Some(epoch.seconds),
            images_per_second: Some(epoch.images_per_second),
        }),
        Event::Inspection(inspection) => train_event::Event::Inspection(from_inspection(inspection)),
        Event::Warning(warning) => train_event::Event::Warning(from_warning(warning)),
        Event::Checkpoint(checkpoint) => train_event::Event::Checkpoint(v1::CheckpointWritten {
            epoch: Some(int(checkpoint.epoch)),
            step: Some(int(checkpoint.step)),
            key: checkpoint.key.clone(),
            bytes: int(checkpoint.bytes),
        }),
        Event::Finished(finished) => train_event::Event::Finished(from_finished(finished)),
    }
}

fn from_started(started: &RunStarted) -> v1::RunStarted {
    v1::RunStarted {
        request: Some(from_train_config(&started.config)),
        train_images: int(started.train_images),
        validation_images: Some(int(started.validation_images)),
        batches_per_epoch: int(started.batches_per_epoch),
        total_parameters: int(started.total_parameters),
        device: started.device.clone(),
        resumed: started.resumed.map(|at| v1::ResumePoint {
            epoch: Some(int(at.epoch)),
            batch: Some(int(at.batch)),
            step: Some(int(at.step)),
        }),
    }
}

fn from_finished(finished: &RunFinished) -> v1::RunFinished {
    v1::RunFinished {
        state: finished.state.to_wire(),
        reason: finished.reason.to_wire(),
        version: finished.version.map(int),
        best_epoch: finished.best_epoch.map(int),
        validation_accuracy: finished.validation_accuracy,
        message: finished.message.clone(),
        seconds: Some(finished.seconds),
    }
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;
    use crate::train::{BatchReport, EpochReport, TrainConfig};

    fn convert(event: Event) -> train_event::Event {
        from_event(RunId::new(), 1, Utc::now(), &event).event.unwrap()
    }

    #[test]
    fn an_event_carries_its_run_number_and_time() {
        let (run, time) = (RunId::new(), DateTime::from_timestamp(7, 8).unwrap());
        let batch = BatchReport {
            epoch: 1,
            batch: 101,
            step: 101,
            loss: 0.0,
            accuracy: 0.0,
            learning_rate: 0.1,
            images_per_second: 5.0,
            gradient_norm: Some(0.0),
        };
        let event = from_event(run, 42, time, &Event::Batch(batch));
        assert_eq!((event.run_id, event.sequence), (run.to_string(), 42));
        assert_eq!(event.time, Some(Timestamp { seconds: 7, nanos: 8 }));
        let Some(train_event::Event::Batch(batch)) = event.event else { panic!("a batch") };
        assert_eq!((batch.batch, batch.accuracy), (101, Some(0.0)));
        assert_eq!(batch.gradient_norm, Some(0.0));
    }

    #[test]
    fn an_epoch_without_validation_has_no_validation_fields() {
        let epoch = EpochReport {
            epoch: 1,
            train_loss: f64::NAN,
            train_accuracy: 0.5,
            validation: None,
            seconds: 1.0,
            images_per_second: 2.0,
        };
        let train_event::Event::Epoch(epoch) = convert(Event::Epoch(epoch)) else { panic!("an epoch") };
        assert_eq!((epoch.validation_loss, epoch.validation_accuracy), (None, None));
        assert!(epoch.train_loss.unwrap().is_nan());
    }

    #[test]
    fn a_start_event_carries_the_resolved_request() {
        let started = RunStarted {
            config: TrainConfig::default(),
            train_images: 50_000,
            validation_images: 0,
            batches_per_epoch: 500,
            total_parameters: 20_350,
            device: "cpu".to_owned(),
            resumed: None,
            dataset_digest: None,
            validation_digest: None,
        };
        let train_event::Event::Started(started) = convert(Event::Started(Box::new(started))) else {
            panic!("a start")
        };
        assert_eq!(started.request.unwrap().epochs, Some(5));
        assert_eq!(started.validation_images, Some(0));
    }
}
