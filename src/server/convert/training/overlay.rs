//! Overlays one request on another by reflection, so that a field that is added to the contract is overlaid,
//! too.

use prost_reflect::{DynamicMessage, Value};

use crate::pb::{self, digitd::v1};

/// `base` with its fields replaced by those that `given` has. Nested messages are overlaid in the same way.
pub fn overlaid(base: &v1::TrainRequest, given: &v1::TrainRequest) -> v1::TrainRequest {
    let mut merged = pb::dynamic("TrainRequest", base);
    overlay(&mut merged, &pb::dynamic("TrainRequest", given));
    merged.transcode_to().expect("the descriptor set describes the generated code")
}

fn overlay(base: &mut DynamicMessage, given: &DynamicMessage) {
    for (field, value) in given.fields() {
        // A network comes as a preset or as layers, and one replaces the other.
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
