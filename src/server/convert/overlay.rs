//! One request laid over another, field by field as the contract describes them, so that a field that is
//! added is laid over too.

use prost_reflect::{DynamicMessage, Value};

use crate::pb::{self, digitd::v1};

/// `base` with the fields that are given in place of its own; within a message likewise.
pub fn overlaid(base: &v1::TrainRequest, given: &v1::TrainRequest) -> v1::TrainRequest {
    let mut merged = pb::dynamic("TrainRequest", base);
    overlay(&mut merged, &pb::dynamic("TrainRequest", given));
    merged.transcode_to().expect("the descriptor set describes the generated code")
}

fn overlay(base: &mut DynamicMessage, given: &DynamicMessage) {
    for (field, value) in given.fields() {
        // A network is given by preset or by layers: one replaces the other.
        if let Value::Message(inner) = value
            && base.has_field(&field)
            && field.name() != "network"
        {
            let mut merged = base.get_field(&field).into_owned();
            if let Some(message) = merged.as_message_mut() {
                overlay(message, inner);
            }
            base.set_field(&field, merged);
        } else {
            base.set_field(&field, value.clone());
        }
    }
}
