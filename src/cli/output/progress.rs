//! A run as it happens: a bar on a terminal, plain lines elsewhere, JSON for programs.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    figure::name_of,
    inspection,
    number::{bytes, count, loss, percent, seconds},
    plan,
    table::Ink,
    warning,
};
use crate::{
    cli::{self, json},
    pb::digitd::v1::{
        BatchReport, EpochReport, FinishReason, RunFinished, RunStarted, RunState, TrainEvent,
        train_event::Event,
    },
};

/// How a run is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A bar that moves, and a line for every epoch.
    Bar,
    /// A line for every report.
    Plain,
    /// One event of the contract a line, as grpcurl prints them but on one line.
    Json,
}

impl Style {
    /// What suits standard output and standard error.
    pub fn fitting() -> Self {
        let terminal = console::user_attended() && console::user_attended_stderr();
        if terminal { Self::Bar } else { Self::Plain }
    }
}

/// Shows the events of one run.
pub struct Progress {
    style: Style,
    bar: ProgressBar,
    epochs: i32,
    batches: i32,
    /// When the first report came, and its step: what the time that is left is reckoned from.
    first: Option<(f64, i32)>,
}

impl Progress {
    pub fn new(style: Style) -> Self {
        let bar = match style {
            Style::Bar => ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr()),
            Style::Plain | Style::Json => ProgressBar::hidden(),
        };
        let template = "{prefix} {wide_bar:.green} {pos}/{len} {msg}";
        bar.set_style(
            ProgressStyle::with_template(template).expect("the template is valid").progress_chars("━╸ "),
        );
        Self { style, bar, epochs: 0, batches: 0, first: None }
    }

    /// Shows one event.
    pub fn show(&mut self, event: &TrainEvent) {
        self.advance(event);
        let line = match self.style {
            Style::Json => Some(json::line("TrainEvent", event)),
            Style::Plain => self.line(event),
            Style::Bar if matches!(event.event, Some(Event::Batch(_) | Event::Checkpoint(_))) => None,
            Style::Bar => self.line(event),
        };
        if let Some(line) = line {
            self.print(&line);
        }
    }

    /// Prints a line of text above the bar.
    pub fn print(&self, line: &str) {
        self.bar.suspend(|| cli::print(&format!("{line}\n")));
    }

    /// Says something to the person, beside what programs read.
    pub fn note(&self, line: &str) {
        self.bar.suspend(|| cli::tell(&format!("{line}\n")));
    }

    fn advance(&mut self, event: &TrainEvent) {
        match &event.event {
            Some(Event::Started(started)) => {
                self.epochs = started.request.as_ref().and_then(|request| request.epochs).unwrap_or_default();
                self.batches = started.batches_per_epoch;
                let steps = i64::from(self.epochs) * i64::from(self.batches);
                self.bar.set_length(steps.unsigned_abs());
                self.bar.set_prefix(format!("epoch 1/{}", self.epochs));
                self.bar.enable_steady_tick(Duration::from_millis(250));
            }
            Some(Event::Batch(batch)) => {
                self.bar.set_prefix(format!("epoch {}/{}", batch.epoch, self.epochs));
                self.bar.set_position(i64::from(batch.step).unsigned_abs());
                // Shorter than a plain line, so that bar and figures share 80 columns.
                let mut message = figures(batch).replace(" images/s", "/s");
                if let Some(left) = self.left(event, batch.step) {
                    message += &format!(" ETA {left}");
                }
                self.bar.set_message(message);
            }
            Some(Event::Epoch(epoch)) => {
                self.bar.set_position((i64::from(epoch.epoch) * i64::from(self.batches)).unsigned_abs());
            }
            Some(Event::Finished(_)) => self.bar.finish_and_clear(),
            Some(
                Event::Inspection(_)
                | Event::Warning(_)
                | Event::Checkpoint(_)
                | Event::Validated(_)
                | Event::Queued(_),
            )
            | None => {}
        }
    }

    /// The time that is left, by the times that the server wrote on the events, so that a run that is
    /// watched late tells it too. Not before the second report: the first batch is no measure.
    fn left(&mut self, event: &TrainEvent, step: i32) -> Option<String> {
        let time = event.time?;
        let now = time.seconds as f64 + f64::from(time.nanos) * 1e-9;
        let (began, first) = *self.first.get_or_insert((now, step));
        if step <= first {
            return None;
        }
        let remaining = f64::from(self.epochs) * f64::from(self.batches) - f64::from(step);
        let left = (now - began) / f64::from(step - first) * remaining;
        Some(if left < 120.0 { format!("{left:.0} s") } else { format!("{:.0} min", left / 60.0) })
    }

    fn line(&self, event: &TrainEvent) -> Option<String> {
        Some(match event.event.as_ref()? {
            Event::Started(it) => started(&event.run_id, it),
            Event::Batch(it) => {
                format!(
                    "epoch {}/{}  batch {}/{}  {}",
                    it.epoch,
                    self.epochs,
                    it.batch,
                    self.batches,
                    figures(it)
                )
            }
            Event::Epoch(it) => epoch(it, self.epochs),
            Event::Inspection(it) => inspection::batch(it, Ink::of_stdout()),
            Event::Warning(it) => warning::warning(it, Ink::of_stdout()),
            Event::Checkpoint(it) => {
                format!("checkpoint {} ({})", it.key, bytes(i64::from(it.bytes).unsigned_abs()))
            }
            Event::Finished(it) => finished(it),
            Event::Validated(it) => plan::validated(it),
            Event::Queued(it) => plan::queued(&event.run_id, it),
        })
    }
}

fn started(run_id: &str, it: &RunStarted) -> String {
    let images = [it.train_images, it.validation_images.unwrap_or_default()];
    format!(
        "run {run_id} on {}\n{}; {} parameters",
        it.device,
        plan::work(it.request.as_ref(), images, it.batches_per_epoch),
        count(it.total_parameters),
    )
}

fn figures(it: &BatchReport) -> String {
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
    format!("epoch {}/{epochs}  train loss {loss} accuracy {accuracy}{validation}  {time}", it.epoch)
}

fn finished(it: &RunFinished) -> String {
    let state = RunState::try_from(it.state).unwrap_or_default();
    let reason = FinishReason::try_from(it.reason).unwrap_or_default();
    let (state, reason) =
        (name_of(state.as_str_name(), "RUN_STATE"), name_of(reason.as_str_name(), "FINISH_REASON"));
    let mut text = if state == reason { state } else { format!("{state} ({reason})") };
    text += &format!(" after {}", seconds(it.seconds.unwrap_or_default()));
    if let Some(version) = it.version {
        text += &format!(": version {version}");
    }
    if let Some(best) = it.best_epoch {
        text += &format!(", of epoch {best}");
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
        let mut progress = Progress::new(Style::Plain);
        let shown = events.into_iter().map(|event| {
            let event = TrainEvent { run_id: "7".to_owned(), event: Some(event), ..Default::default() };
            progress.advance(&event);
            progress.line(&event).unwrap()
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
    fn a_batch_tells_its_place_and_its_figures() {
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
    fn the_time_left_is_reckoned_from_the_second_report_on() {
        let mut progress = Progress::new(Style::Bar);
        let left: Vec<_> = [(1, 100), (101, 102), (2301, 146)]
            .map(|(step, at)| {
                let time = Some(prost_types::Timestamp { seconds: at, nanos: 0 });
                progress.advance(&TrainEvent { event: Some(start()), ..Default::default() });
                progress.left(&TrainEvent { time, ..Default::default() }, step)
            })
            .into();
        assert_eq!(left, [None, Some("48 s".to_owned()), Some("4 s".to_owned())]);
    }

    #[test]
    fn an_epoch_without_validation_says_nothing_of_it() {
        let epoch = EpochReport {
            epoch: 1,
            train_loss: Some(0.5),
            train_accuracy: Some(0.0),
            seconds: Some(3.5),
            ..Default::default()
        };
        let shown = lines(vec![start(), Event::Epoch(epoch)]);
        assert_eq!(shown[1], "epoch 1/5  train loss 0.5000 accuracy 0.00 %  3.5 s");
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
        assert_eq!(shown[0], "completed after 25.0 s: version 3, of epoch 4, validation accuracy 99.00 %");
        assert_eq!(shown[1], "failed (non finite) after 0 us\nloss of batch 7 is NaN");
    }
}
