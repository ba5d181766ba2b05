//! Messages of the contract as JSON, in the mapping that grpcurl uses: lowerCamelCase names, enums by name,
//! bytes in base64, defaults left out.

use prost::Message;

use crate::pb::dynamic;

/// A message as one line. `name` is the message's name in the package `digitd.v1`.
pub fn line(name: &str, message: &impl Message) -> String {
    serde_json::to_string(&dynamic(name, message)).expect("every message has a JSON form")
}

/// A message as indented lines.
pub fn text(name: &str, message: &impl Message) -> String {
    serde_json::to_string_pretty(&dynamic(name, message)).expect("every message has a JSON form")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::digitd::v1::{BatchReport, TrainEvent, train_event::Event};

    #[test]
    fn an_event_is_one_line_in_the_form_of_grpcurl() {
        let batch = BatchReport { epoch: 1, loss: Some(2.5), accuracy: Some(0.0), ..Default::default() };
        let event = TrainEvent {
            run_id: "r".to_owned(),
            sequence: 2,
            event: Some(Event::Batch(batch)),
            ..Default::default()
        };
        let expected = r#"{"runId":"r","sequence":2,"batch":{"epoch":1,"loss":2.5,"accuracy":0.0}}"#;
        assert_eq!(line("TrainEvent", &event), expected);
    }
}
