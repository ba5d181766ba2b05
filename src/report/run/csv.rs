//! The events of a run as comma-separated values.

use chrono::{DateTime, SecondsFormat};
use prost_reflect::{DynamicMessage, ReflectMessage as _, Value};

use crate::pb::{self, digitd::v1::TrainEvent};

/// The events that are rows of the table, and their messages.
const ROWS: [(&str, &str); 2] = [("batch", "BatchReport"), ("epoch", "EpochReport")];

/// A header, then a row for every batch and epoch, with the fields of both as columns; a cell is
/// empty where the row's event has no such field. No value needs quoting: all are numbers and times.
pub fn csv(events: &[TrainEvent]) -> String {
    let columns = columns();
    let mut lines = vec![["event", "sequence", "time"].join(",") + "," + &columns.join(",")];
    for event in events {
        let message = pb::dynamic("TrainEvent", event);
        let row = ROWS.into_iter().find(|(field, _)| message.has_field_by_name(field));
        let Some((field, _)) = row else { continue };
        let value = message.get_field_by_name(field);
        let Some(report) = value.as_deref().and_then(Value::as_message) else { continue };
        let cells = columns.iter().map(|column| cell(report, column));
        let head = [field.to_owned(), event.sequence.to_string(), time(event)];
        lines.push(head.into_iter().chain(cells).collect::<Vec<_>>().join(","));
    }
    lines.join("\n") + "\n"
}

/// The fields of all rows in the order of the contract, each once.
fn columns() -> Vec<String> {
    let mut columns: Vec<String> = Vec::new();
    for (_, message) in ROWS {
        for field in pb::descriptor(message).fields() {
            if !columns.iter().any(|column| column == field.name()) {
                columns.push(field.name().to_owned());
            }
        }
    }
    columns
}

fn cell(report: &DynamicMessage, column: &str) -> String {
    let Some(field) = report.descriptor().get_field_by_name(column) else { return String::new() };
    if field.supports_presence() && !report.has_field(&field) {
        return String::new();
    }
    match &*report.get_field(&field) {
        Value::F64(number) => number.to_string(),
        Value::I32(number) => number.to_string(),
        other => other.to_string(),
    }
}

fn time(event: &TrainEvent) -> String {
    let time = event.time.as_ref();
    let utc = time.and_then(|time| DateTime::from_timestamp(time.seconds, time.nanos.unsigned_abs()));
    utc.map(|utc| utc.to_rfc3339_opts(SecondsFormat::Millis, true)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::digitd::v1::{BatchReport, EpochReport, RunStarted, train_event::Event};

    fn event(sequence: i32, event: Event) -> TrainEvent {
        let time = Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 250_000_000 });
        TrainEvent { run_id: "r".to_owned(), sequence, time, event: Some(event) }
    }

    #[test]
    fn batches_and_epochs_are_rows_and_other_events_are_not() {
        let batch = BatchReport { epoch: 1, batch: 1, step: 1, loss: Some(f64::NAN), ..Default::default() };
        let epoch = EpochReport { epoch: 1, train_loss: Some(0.5), seconds: Some(2.0), ..Default::default() };
        let text = csv(&[
            event(1, Event::Started(RunStarted::default())),
            event(2, Event::Batch(batch)),
            event(3, Event::Epoch(epoch)),
        ]);
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
        assert_eq!(rows.len(), 3, "{text}");
        assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{text}");
        let cell =
            |row: usize, column: &str| rows[row][rows[0].iter().position(|name| *name == column).unwrap()];
        assert_eq!((cell(1, "event"), cell(1, "loss"), cell(1, "accuracy")), ("batch", "NaN", ""));
        assert_eq!(cell(1, "time"), "2023-11-14T22:13:20.250Z");
        assert_eq!((cell(2, "sequence"), cell(2, "train_loss"), cell(2, "step")), ("3", "0.5", ""));
    }
}
