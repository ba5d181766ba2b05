//! What came of a run, in the numbers that runs are compared by.

use serde::Serialize;

use super::history::History;
use crate::pb::digitd::v1::{EpochReport, RunState};

/// What came of a run so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Results {
    pub run_id: String,
    pub state: &'static str,
    /// Epochs that are finished.
    pub epochs: i32,
    pub best_epoch: Option<i32>,
    /// Of the best epoch.
    #[serde(serialize_with = "number")]
    pub validation_accuracy: Option<f64>,
    #[serde(serialize_with = "number")]
    pub validation_loss: Option<f64>,
    /// Of the last epoch.
    #[serde(serialize_with = "number")]
    pub train_accuracy: Option<f64>,
    #[serde(serialize_with = "number")]
    pub train_loss: Option<f64>,
    /// From the run's start to its end; over its epochs where it has not ended.
    #[serde(serialize_with = "number")]
    pub seconds: Option<f64>,
    /// Training speed over all epochs, validation not included.
    #[serde(serialize_with = "number")]
    pub images_per_second: Option<f64>,
    /// The published version.
    pub version: Option<i32>,
}

impl Results {
    pub fn of(history: &History) -> Self {
        let (run, finished) = (&history.run, history.finished());
        let epochs: Vec<&EpochReport> = history.epochs().collect();
        let best_epoch = finished.and_then(|finished| finished.best_epoch).or(run.best_epoch);
        let best = epochs.iter().find(|epoch| Some(epoch.epoch) == best_epoch);
        let last = epochs.last();
        // Speeds over equal amounts of work have a harmonic mean.
        let pace: f64 = epochs.iter().filter_map(|epoch| epoch.images_per_second).map(f64::recip).sum();
        Self {
            run_id: run.run_id.clone(),
            state: RunState::try_from(run.state).unwrap_or_default().as_str_name(),
            epochs: last.map_or(0, |epoch| epoch.epoch),
            best_epoch,
            validation_accuracy: best.and_then(|epoch| epoch.validation_accuracy),
            validation_loss: best.and_then(|epoch| epoch.validation_loss),
            train_accuracy: last.and_then(|epoch| epoch.train_accuracy),
            train_loss: last.and_then(|epoch| epoch.train_loss),
            seconds: finished
                .and_then(|finished| finished.seconds)
                .or_else(|| last.map(|_| epochs.iter().filter_map(|epoch| epoch.seconds).sum())),
            images_per_second: (pace > 0.0).then(|| epochs.len() as f64 / pace),
            version: finished.and_then(|finished| finished.version).or(run.version),
        }
    }
}

/// As the JSON form of the contract has it: what is not finite is a word.
fn number<S: serde::Serializer>(value: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
    match value {
        None => to.serialize_none(),
        Some(value) if value.is_nan() => to.serialize_str("NaN"),
        Some(value) if value.is_infinite() => {
            to.serialize_str(if *value > 0.0 { "Infinity" } else { "-Infinity" })
        }
        Some(value) => to.serialize_f64(*value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::digitd::v1::{Run, RunFinished, TrainEvent, train_event::Event};

    fn epoch(epoch: i32, validation_accuracy: Option<f64>, images_per_second: f64) -> Event {
        Event::Epoch(EpochReport {
            epoch,
            train_loss: Some(1.0 / f64::from(epoch)),
            validation_accuracy,
            seconds: Some(2.0),
            images_per_second: Some(images_per_second),
            ..Default::default()
        })
    }

    fn history(events: Vec<Event>) -> History {
        let event = |event| TrainEvent { event: Some(event), ..Default::default() };
        History { run: Run::default(), events: events.into_iter().map(event).collect() }
    }

    #[test]
    fn results_are_of_the_best_and_of_the_last_epoch() {
        let finished = RunFinished { best_epoch: Some(1), seconds: Some(5.0), ..Default::default() };
        let events =
            vec![epoch(1, Some(0.9), 1000.0), epoch(2, Some(0.8), 3000.0), Event::Finished(finished)];
        let found = Results::of(&history(events));
        assert_eq!((found.best_epoch, found.validation_accuracy), (Some(1), Some(0.9)));
        assert_eq!((found.train_loss, found.seconds), (Some(0.5), Some(5.0)));
        // 1000 images in 1 s and 1000 in 1/3 s.
        assert!((found.images_per_second.unwrap() - 1500.0).abs() < 1e-9);
    }

    #[test]
    fn a_run_that_has_not_come_far_has_what_there_is() {
        assert_eq!(
            Results::of(&history(vec![])),
            Results { state: "RUN_STATE_UNSPECIFIED", ..Results::default() }
        );
        let found = Results::of(&history(vec![epoch(1, None, 500.0)]));
        assert_eq!((found.epochs, found.seconds, found.validation_accuracy), (1, Some(2.0), None));
    }

    #[test]
    fn a_loss_that_is_not_finite_is_told_in_json() {
        let found =
            Results { train_loss: Some(f64::NAN), seconds: Some(f64::INFINITY), ..Default::default() };
        let text = serde_json::to_string(&found).unwrap();
        assert!(
            text.contains("\"trainLoss\":\"NaN\"") && text.contains("\"seconds\":\"Infinity\""),
            "{text}"
        );
    }
}
