//! A run as it happens: a line of text for every event, and the words beside a progress bar.

use super::{
    inspection,
    layout::Layout,
    names::enum_label,
    number::{bytes, count, loss, percent, seconds},
    run_plan, warning,
};
use crate::pb::digitd::v1::{
    BatchReport, EpochReport, FinishReason, RunFinished, RunStarted, RunState, TrainEvent, train_event::Event,
};

/// A run as its events come: turns each into text, with the counts that earlier ones gave.
#[derive(Debug, Default)]
pub struct RunProgress {
    epochs: i32,
    batches_per_epoch: i32,
    /// Time and step of the first report, from which the remaining time is estimated.
    first_report: Option<(f64, i32)>,
}

impl RunProgress {
    /// Records the counts of an event; call it before asking for the text of the event.
    pub fn observe(&mut self, event: &TrainEvent) {
        if let Some(Event::Started(started)) = &event.event {
            self.epochs = started.request.as_ref().and_then(|request| request.epochs).unwrap_or_default();
            self.batches_per_epoch = started.batches_per_epoch;
        }
    }

    /// Batches of all epochs.
    pub fn total_steps(&self) -> u64 {
        self.steps_after(self.epochs)
    }

    /// Batches of the first epochs.
    pub fn steps_after(&self, epochs: i32) -> u64 {
        (i64::from(epochs) * i64::from(self.batches_per_epoch)).unsigned_abs()
    }

    /// The text before a progress bar, as in `epoch 2/5`.
    pub fn bar_prefix(&self, epoch: i32) -> String {
        format!("epoch {epoch}/{}", self.epochs)
    }

    /// The text after a progress bar: the metrics of a batch and the remaining time.
    pub fn bar_message(&mut self, event: &TrainEvent, batch: &BatchReport) -> String {
        // Shorter than a line of text, so that bar and metrics share 80 columns.
        let mut message = metrics(batch).replace(" images/s", "/s");
        if let Some(left) = self.remaining_time(event, batch.step) {
            message += &format!(" ETA {left}");
        }
        message
    }

    /// The remaining time, by the times that the server wrote on the events, so that it is right for a run
    /// that is watched late. None before the second report: the first batch is no measure.
    fn remaining_time(&mut self, event: &TrainEvent, step: i32) -> Option<String> {
        let time = event.time?;
        let now = time.seconds as f64 + f64::from(time.nanos) * 1e-9;
        let (began, first) = *self.first_report.get_or_insert((now, step));
        if step <= first {
            return None;
        }
        let remaining = self.total_steps() as f64 - f64::from(step);
        let left = (now - began) / f64::from(step - first) * remaining;
        Some(if left < 120.0 { format!("{left:.0} s") } else { format!("{:.0} min", left / 60.0) })
    }

    /// The text of an event, a line or more.
    pub fn line(&self, event: &TrainEvent, layout: Layout) -> Option<String> {
        Some(match event.event.as_ref()? {
            Event::Started(it) => started(&event.run_id, it),
            Event::Batch(it) => {
                format!(
                    "epoch {}/{}  batch {}/{}  {}",
                    it.epoch,
                    self.epochs,
                    it.batch,
                    self.batches_per_epoch,
                    metrics(it)
                )
            }
            Event::Epoch(it) => epoch(it, self.epochs),
            Event::Inspection(it) => inspection::batch(it, layout),
            Event::Warning(it) => warning::warning(it, layout),
            Event::Checkpoint(it) => {
                format!("checkpoint {} ({})", it.key, bytes(i64::from(it.bytes).unsigned_abs()))
            }
            Event::Finished(it) => finished(it),
            Event::Validated(it) => run_plan::validated(it),
            Event::Queued(it) => run_plan::queued(&event.run_id, it),
        })
    }
}

fn started(run_id: &str, it: &RunStarted) -> String {
    let images = [it.train_images, it.validation_images.unwrap_or_default()];
    format!(
        "run {run_id} on {}\n{}; {} parameters",
        it.device,
        run_plan::workload(it.request.as_ref(), images, it.batches_per_epoch),
        count(it.total_parameters),
    )
}

fn metrics(it: &BatchReport) -> String {
    let speed = it.images_per_second.unwrap_or_default();
    let (loss, accuracy) = (loss(it.loss), percent(it.accuracy));
    format!("loss {loss} accuracy {accuracy} {} images/s", count(speed.round() as i64))
}

fn epoch(it: &EpochReport, epochs: i32) -> String {
    let validation = match it.validation_accuracy {
        Some(_) => {
            format!(
                "  validation loss {} accuracy {}",
                loss(it.validation_loss),
                percent(it.validation_accuracy)
            )
        }
        None => String::new(),
    };
    let (loss, accuracy) = (loss(it.train_loss), percent(it.train_accuracy));
    let time = seconds(it.seconds.unwrap_or_default());
    format!("epoch {}/{epochs}  training loss {loss} accuracy {accuracy}{validation}  {time}", it.epoch)
}

fn finished(it: &RunFinished) -> String {
    let state = RunState::try_from(it.state).unwrap_or_default();
    let reason = FinishReason::try_from(it.reason).unwrap_or_default();
    let (state, reason) =
        (enum_label(state.as_str_name(), "RUN_STATE"), enum_label(reason.as_str_name(), "FINISH_REASON"));
    let mut text = if state == reason { state } else { format!("{state} ({reason})") };
    text += &format!(" after {}", seconds(it.seconds.unwrap_or_default()));
    if let Some(version) = it.version {
        text += &format!(": version {version}");
    }
    if let Some(best) = it.best_epoch {
        text += &format!(", from epoch {best}");
    }
    if let Some(accuracy) = it.validation_accuracy {
        text += &format!(", validation accuracy {}", percent(Some(accuracy)));
    }
    if !it.message.is_empty() {
        text += &format!("\n{}", it.message);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::digitd::v1::TrainRequest;

    fn lines(events: Vec<Event>) -> Vec<String> {
        let mut progress = RunProgress::default();
        let shown = events.into_iter().map(|event| {
            let event = TrainEvent { run_id: "7".to_owned(), event: Some(event), ..Default::default() };
            progress.observe(&event);
            progress.line(&event, Layout::PLAIN).unwrap()
        });
        shown.collect()
    }

    fn start() -> Event {
        Event::Started(RunStarted {
            request: Some(TrainRequest { epochs: Some(5), ..Default::default() }),
            train_images: 50_000,
            batches_per_epoch: 500,
            device: "cpu".to_owned(),
            ..Default::default()
        })
    }

    #[test]
    fn a_batch_shows_its_progress_and_its_metrics() {
        let batch = BatchReport {
            epoch: 2,
            batch: 101,
            step: 601,
            loss: Some(0.25),
            accuracy: Some(0.93),
            images_per_second: Some(14_212.4),
            ..Default::default()
        };
        let shown = lines(vec![start(), Event::Batch(batch)]);
        assert_eq!(shown[1], "epoch 2/5  batch 101/500  loss 0.2500 accuracy 93.00 % 14 212 images/s");
    }

    #[test]
    fn the_remaining_time_is_estimated_from_the_second_report_on() {
        let mut progress = RunProgress::default();
        let left: Vec<_> = [(1, 100), (101, 102), (2301, 146)]
            .map(|(step, at)| {
                let time = Some(prost_types::Timestamp { seconds: at, nanos: 0 });
                progress.observe(&TrainEvent { event: Some(start()), ..Default::default() });
                progress.remaining_time(&TrainEvent { time, ..Default::default() }, step)
            })
            .into();
        assert_eq!(left, [None, Some("48 s".to_owned()), Some("4 s".to_owned())]);
    }

    #[test]
    fn an_epoch_without_validation_has_no_validation_metrics() {
        let epoch = EpochReport {
            epoch: 1,
            train_loss: Some(0.5),
            train_accuracy: Some(0.0),
            seconds: Some(3.5),
            ..Default::default()
        };
        let shown = lines(vec![start(), Event::Epoch(epoch)]);
        assert_eq!(shown[1], "epoch 1/5  training loss 0.5000 accuracy 0.00 %  3.5 s");
    }

    #[test]
    fn the_end_names_the_version_or_the_reason() {
        let good = RunFinished {
            state: RunState::Completed.into(),
            reason: FinishReason::Completed.into(),
            version: Some(3),
            best_epoch: Some(4),
            validation_accuracy: Some(0.99),
            seconds: Some(25.0),
            ..Default::default()
        };
        let bad = RunFinished {
            state: RunState::Failed.into(),
            reason: FinishReason::NonFinite.into(),
            message: "loss of batch 7 is NaN".to_owned(),
            ..Default::default()
        };
        let shown = lines(vec![Event::Finished(good), Event::Finished(bad)]);
        assert_eq!(shown[0], "completed after 25.0 s: version 3, from epoch 4, validation accuracy 99.00 %");
        assert_eq!(shown[1], "failed (non finite) after 0 us\nloss of batch 7 is NaN");
    }
}
