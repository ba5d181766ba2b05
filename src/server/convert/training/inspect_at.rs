//! The batches that a run inspects, and the event of one inspected batch.

use crate::{
    ids::FieldError,
    pb::digitd::v1,
    server::convert::shared::{
        field::{ANY, count, int},
        report::from_report,
    },
    train::{InspectAt, Inspection},
};

/// The batches that a run inspects. An entry that says neither shapes nor contents means shapes.
pub fn inspect_at(requested: &[v1::InspectAt]) -> Result<Vec<InspectAt>, FieldError> {
    let number = |index: usize, name: &str, value: i32| {
        count(&format!("inspect_at[{index}].{name}"), Some(value), 1..=ANY, 1)
    };
    let one = |(index, at): (usize, &v1::InspectAt)| {
        Ok(InspectAt {
            epoch: number(index, "epoch", at.epoch)?,
            batch: number(index, "batch", at.batch)?,
            shapes: at.shapes || !at.contents,
            contents: at.contents,
        })
    };
    requested.iter().enumerate().map(one).collect()
}

pub fn from_inspect_at(at: &InspectAt) -> v1::InspectAt {
    v1::InspectAt { epoch: int(at.epoch), batch: int(at.batch), shapes: at.shapes, contents: at.contents }
}

/// The event of an inspected batch. A layer has its name, kind and parameters whatever the request asks for.
pub fn from_inspection(inspection: &Inspection) -> v1::BatchInspection {
    let at = inspection.at;
    let shown = from_report(inspection.report.clone());
    let layer = |layer: v1::LayerReport| match at.shapes {
        true => layer,
        false => v1::LayerReport {
            hyperparameters: Default::default(),
            input_shape: Vec::new(),
            output_shape: Vec::new(),
            multiply_adds: None,
            parameter_bytes: None,
            output_bytes: None,
            ..layer
        },
    };
    v1::BatchInspection {
        epoch: int(at.epoch),
        batch: int(at.batch),
        step: int(inspection.step),
        layers: shown.layers.into_iter().map(layer).collect(),
        input_shape: if at.shapes { shown.input_shape } else { Vec::new() },
        total_parameters: at.shapes.then_some(shown.total_parameters),
        total_multiply_adds: at.shapes.then_some(shown.total_multiply_adds),
        label: inspection.label.map(int),
        logits: shown.logits,
        probabilities: shown.probabilities,
        sample_images: shown.sample_images,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_without_shapes_or_contents_shows_shapes() {
        let at = v1::InspectAt { epoch: 1, batch: 401, shapes: false, contents: false };
        let requested = inspect_at(&[at]).unwrap();
        assert_eq!(requested, [InspectAt { epoch: 1, batch: 401, shapes: true, contents: false }]);
        let field = |at| inspect_at(&[v1::InspectAt { epoch: 1, batch: 1, ..at }, at]).unwrap_err().field;
        assert_eq!(field(v1::InspectAt { epoch: -1, ..at }), "inspect_at[1].epoch");
        assert_eq!(field(v1::InspectAt { batch: 0, ..at }), "inspect_at[1].batch");
    }
}
