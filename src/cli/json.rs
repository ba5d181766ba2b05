//! Messages of the contract ⇄ JSON, in the mapping that grpcurl speaks: lowerCamelCase names, enums
//! by name, bytes in base64, defaults left out.

use prost::Message;
use prost_reflect::DynamicMessage;

use crate::pb::{descriptor, dynamic};

/// A message as one line. `name` is the message's name in the package `digitd.v1`.
pub fn line(name: &str, message: &impl Message) -> String {
    serde_json::to_string(&dynamic(name, message)).expect("every message has a JSON form")
}

/// A message as lines that people read.
pub fn text(name: &str, message: &impl Message) -> String {
    serde_json::to_string_pretty(&dynamic(name, message)).expect("every message has a JSON form")
}

/// Reads a message. Errors on text that is no JSON, on a field that the message does not have, and
/// on a value that its field cannot hold; the message says where.
pub fn parse<M: Message + Default>(name: &str, text: &str) -> Result<M, String> {
    let mut from = serde_json::Deserializer::from_str(text);
    let dynamic =
        DynamicMessage::deserialize(descriptor(name), &mut from).map_err(|error| error.to_string())?;
    from.end().map_err(|error| error.to_string())?;
    dynamic.transcode_to().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::digitd::v1::{BatchReport, TrainEvent, TrainRequest, optimizer::Rule, train_event::Event};

    #[test]
    fn an_event_is_one_line_as_grpcurl_has_it() {
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

    #[test]
    fn a_request_is_read_with_either_spelling_of_its_fields() {
        for text in [
            r#"{"batchSize": 50, "optimizer": {"sgd": {"learningRate": 0.1}}}"#,
            r#"{"batch_size": 50, "optimizer": {"sgd": {"learning_rate": 0.1}}}"#,
        ] {
            let request: TrainRequest = parse("TrainRequest", text).unwrap();
            assert_eq!(request.batch_size, Some(50));
            let Some(Rule::Sgd(sgd)) = request.optimizer.unwrap().rule else { panic!("not sgd") };
            assert_eq!(sgd.learning_rate, Some(0.1));
        }
    }

    #[test]
    fn a_field_that_there_is_not_is_refused_by_name() {
        let error = parse::<TrainRequest>("TrainRequest", r#"{"epoch": 5}"#).unwrap_err();
        assert!(error.contains("epoch"), "{error}");
        let error = parse::<TrainRequest>("TrainRequest", r#"{"epochs": 5} {}"#).unwrap_err();
        assert!(error.contains("trailing"), "{error}");
    }
}
