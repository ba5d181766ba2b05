//! The results of a run: the numbers that runs are compared by.

use serde::Serialize;

use super::history::RunHistory;
use crate::pb::digitd::v1::{EpochReport, RunState};

/// The results of a run so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunResults {
    pub run_id: String,
    pub state: &'static str,
    /// Number of finished epochs.
    pub epochs: i32,
    pub best_epoch: Option<i32>,
    /// Validation metrics of the best epoch.
    #[serde(serialize_with = "number")]
    pub validation_accuracy: Option<f64>,
    #[serde(serialize_with = "number")]
    pub validation_loss: Option<f64>,
    /// Training metrics of the last epoch.
    #[serde(serialize_with = "number")]
    pub train_accuracy: Option<f64>,
    #[serde(serialize_with = "number")]
    pub train_loss: Option<f64>,
    /// Training time from start to end, all parts of a resumed run together; the epochs of a part that has
    /// not ended.
    #[serde(serialize_with = "number")]
    pub seconds: Option<f64>,
    /// Training speed over all epochs, validation not included.
    #[serde(serialize_with = "number")]
    pub images_per_second: Option<f64>,
    /// The published version.
    pub version: Option<i32>,
}

impl RunResults {
    pub fn new(history: &RunHistory) -> Self {
        let (run, finished) = (&history.run, history.finished());
        let epochs: Vec<&EpochReport> = history.epochs().collect();
        let best_epoch = finished.and_then(|finished| finished.best_epoch).or(run.best_epoch);
        let best = epochs.iter().find(|epoch| Some(epoch.epoch) == best_epoch);
        let last = epochs.last();
        // The mean of speeds over equal amounts of work is harmonic. An epoch that was resumed after its last
        // batch trained nothing and has no speed.
        let speeds = epochs.iter().filter_map(|epoch| epoch.images_per_second).filter(|speed| *speed > 0.0);
        let times: Vec<f64> = speeds.map(f64::recip).collect();
        Self {
            run_id: run.run_id.clone(),
            state: RunState::try_from(run.state).unwrap_or_default().as_str_name(),
            epochs: last.map_or(0, |epoch| epoch.epoch),
            best_epoch,
            validation_accuracy: best.and_then(|epoch| epoch.validation_accuracy),
            validation_loss: best.and_then(|epoch| epoch.validation_loss),
            train_accuracy: last.and_then(|epoch| epoch.train_accuracy),
            train_loss: last.and_then(|epoch| epoch.train_loss),
            seconds: history.seconds(),
            images_per_second: (!times.is_empty()).then(|| times.len() as f64 / times.iter().sum::<f64>()),
            version: finished.and_then(|finished| finished.version).or(run.version),
        }
    }
}

/// A number as in the JSON form of the contract, where a value that is not finite is a word.
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
    use crate::pb::digitd::v1::{Run, RunFinished, RunStarted, TrainEvent, train_event::Event};

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

    fn history(events: Vec<Event>) -> RunHistory {
        let event = |event| TrainEvent { event: Some(event), ..Default::default() };
        RunHistory { run: Run::default(), events: events.into_iter().map(event).collect() }
    }

    #[test]
    fn results_come_from_the_best_and_the_last_epoch() {
        let finished = RunFinished { best_epoch: Some(1), seconds: Some(5.0), ..Default::default() };
        let events =
            vec![epoch(1, Some(0.9), 1000.0), epoch(2, Some(0.8), 3000.0), Event::Finished(finished)];
        let found = RunResults::new(&history(events));
        assert_eq!((found.best_epoch, found.validation_accuracy), (Some(1), Some(0.9)));
        assert_eq!((found.train_loss, found.seconds), (Some(0.5), Some(5.0)));
        // 1000 images in 1 s and 1000 in 1/3 s.
        assert!((found.images_per_second.unwrap() - 1500.0).abs() < 1e-9);
    }

    #[test]
    fn the_results_of_a_resumed_run_are_those_of_its_last_end() {
        let end = |state: RunState, best_epoch, version| {
            let (best_epoch, seconds) = (Some(best_epoch), Some(5.0));
            Event::Finished(RunFinished {
                state: state.into(),
                best_epoch,
                version,
                seconds,
                ..Default::default()
            })
        };
        let started = || Event::Started(RunStarted::default());
        let mut events = vec![
            started(),
            epoch(1, Some(0.9), 1000.0),
            end(RunState::Cancelled, 1, None),
            started(),
            // Only validation was left of it.
            epoch(2, Some(0.95), 0.0),
        ];
        let found = RunResults::new(&history(events.clone()));
        assert_eq!(
            (found.version, found.seconds, found.best_epoch),
            (None, Some(5.0 + 2.0), None),
            "it is training"
        );
        events.push(end(RunState::Completed, 2, Some(3)));
        let found = RunResults::new(&history(events));
        assert_eq!((found.version, found.seconds, found.best_epoch), (Some(3), Some(10.0), Some(2)));
        assert_eq!((found.validation_accuracy, found.images_per_second), (Some(0.95), Some(1000.0)));
    }

    #[test]
    fn a_run_that_has_just_started_has_few_results() {
        assert_eq!(
            RunResults::new(&history(vec![])),
            RunResults { state: "RUN_STATE_UNSPECIFIED", ..RunResults::default() }
        );
        let found = RunResults::new(&history(vec![epoch(1, None, 500.0)]));
        assert_eq!((found.epochs, found.seconds, found.validation_accuracy), (1, Some(2.0), None));
    }

    #[test]
    fn a_loss_that_is_not_finite_is_a_word_in_json() {
        let found =
            RunResults { train_loss: Some(f64::NAN), seconds: Some(f64::INFINITY), ..Default::default() };
        let text = serde_json::to_string(&found).unwrap();
        assert!(
            text.contains("\"trainLoss\":\"NaN\"") && text.contains("\"seconds\":\"Infinity\""),
            "{text}"
        );
    }
}
