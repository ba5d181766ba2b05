//! Predictions → output tensors, whose values are raw bytes.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::request::RequestedOutput;
use crate::{
    engine::PredictionBatch,
    pb::inference::{
        InferParameter, ModelInferResponse, infer_parameter::ParameterChoice,
        model_infer_response::InferOutputTensor,
    },
    server::{
        convert::shared::{
            images::MAX_INLINE_IMAGES,
            ranking::{best, ranked},
        },
        decode_pool::Cost,
    },
};

/// The cost of encoding the response: texts for many images take long.
pub fn cost(predicted: &PredictionBatch, outputs: &[RequestedOutput]) -> Cost {
    let is_text = |requested: &RequestedOutput| matches!(requested, RequestedOutput::Classification(_));
    let images = predicted.probabilities.len() / predicted.classes;
    if images > MAX_INLINE_IMAGES && outputs.iter().any(is_text) { Cost::Offload } else { Cost::Inline }
}

pub fn from_predictions(
    predicted: &PredictionBatch,
    outputs: &[RequestedOutput],
    id: String,
) -> ModelInferResponse {
    let (outputs, raw_output_contents) =
        outputs.iter().map(|requested| output(predicted, *requested)).unzip();
    ModelInferResponse {
        model_name: predicted.model.to_string(),
        model_version: predicted.version.get().to_string(),
        id,
        outputs,
        raw_output_contents,
        ..ModelInferResponse::default()
    }
}

fn output(predicted: &PredictionBatch, requested: RequestedOutput) -> (InferOutputTensor, Bytes) {
    let PredictionBatch { classes, probabilities, .. } = predicted;
    let images = probabilities.len() / classes;
    let (datatype, shape, values) = match requested {
        RequestedOutput::Probabilities => {
            let mut values = BytesMut::with_capacity(size_of_val(&probabilities[..]));
            probabilities.iter().for_each(|value| values.put_f32_le(*value));
            ("FP32", vec![images, *classes], values)
        }
        RequestedOutput::Label => {
            let mut values = BytesMut::with_capacity(images * size_of::<i64>());
            for row in probabilities.chunks_exact(*classes) {
                values.put_i64_le(best(row).expect("a version has classes") as i64);
            }
            ("INT64", vec![images], values)
        }
        RequestedOutput::Classification(count) => {
            let count = count.min(*classes);
            ("BYTES", vec![images, count], classification(predicted, count))
        }
    };
    let tensor = InferOutputTensor {
        name: requested.name().to_owned(),
        datatype: datatype.to_owned(),
        shape: shape.into_iter().map(|length| length as i64).collect(),
        ..InferOutputTensor::default()
    };
    (tensor, values.freeze())
}

/// Texts "probability:label:name", most probable first, each preceded by its length. A class without a name is
/// named by its number.
fn classification(predicted: &PredictionBatch, count: usize) -> BytesMut {
    let mut values = BytesMut::new();
    for row in predicted.probabilities.chunks_exact(predicted.classes) {
        for label in ranked(row, count) {
            let probability = row[label];
            let text = match predicted.class_names.get(label) {
                Some(name) => format!("{probability:.6}:{label}:{name}"),
                None => format!("{probability:.6}:{label}:{label}"),
            };
            values.put_u32_le(u32::try_from(text.len()).expect("names of classes are short"));
            values.put_slice(text.as_bytes());
        }
    }
    values
}

/// Marks the one response that each request of a stream has as its last.
pub fn last_of_request(mut response: ModelInferResponse) -> ModelInferResponse {
    let parameter = InferParameter { parameter_choice: Some(ParameterChoice::BoolParam(true)) };
    response.parameters.insert("triton_final_response".to_owned(), parameter);
    response
}

/// Adds the code of gRPC and the reason of an error, for programs.
pub fn error_facts(response: &mut ModelInferResponse, code: i32, reason: String) {
    let facts = [
        ("error_code", ParameterChoice::Int64Param(code.into())),
        ("error_reason", ParameterChoice::StringParam(reason)),
    ];
    let facts = facts.map(|(key, fact)| (key.to_owned(), InferParameter { parameter_choice: Some(fact) }));
    response.parameters.extend(facts);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ModelName, Version};

    fn predicted(names: &[&str]) -> PredictionBatch {
        PredictionBatch {
            model: ModelName::default(),
            version: Version::FIRST,
            classes: 3,
            class_names: names.iter().map(|name| (*name).to_owned()).collect(),
            probabilities: vec![0.25, 0.25, 0.5, 0.7, 0.1, 0.2],
        }
    }

    fn texts(mut raw: &[u8]) -> Vec<String> {
        let mut texts = Vec::new();
        while let Some((length, rest)) = raw.split_at_checked(4) {
            let (text, rest) = rest.split_at(u32::from_le_bytes(length.try_into().unwrap()) as usize);
            texts.push(String::from_utf8(text.to_vec()).unwrap());
            raw = rest;
        }
        assert!(raw.is_empty());
        texts
    }

    #[test]
    fn probabilities_and_labels_are_little_endian_rows() {
        let response = from_predictions(
            &predicted(&[]),
            &[RequestedOutput::Label, RequestedOutput::Probabilities],
            "7".to_owned(),
        );
        assert_eq!((&*response.model_name, &*response.model_version, &*response.id), ("digits", "1", "7"));
        let [label, probabilities] = &response.outputs[..] else { panic!("two outputs") };
        assert_eq!((&*label.datatype, &label.shape[..]), ("INT64", &[2][..]));
        assert_eq!((&*probabilities.datatype, &probabilities.shape[..]), ("FP32", &[2, 3][..]));
        assert_eq!(&response.raw_output_contents[0][..], [[2, 0, 0, 0, 0, 0, 0, 0], [0; 8]].concat());
        assert_eq!(response.raw_output_contents[1][8..12], 0.5f32.to_le_bytes());
    }

    #[test]
    fn a_classification_is_texts_most_probable_first() {
        let requested = [RequestedOutput::Classification(2)];
        let response = from_predictions(&predicted(&[]), &requested, String::new());
        assert_eq!(
            (&*response.outputs[0].name, &response.outputs[0].shape[..]),
            ("probabilities", &[2, 2][..])
        );
        assert_eq!(response.outputs[0].datatype, "BYTES");
        let expected = ["0.500000:2:2", "0.250000:0:0", "0.700000:0:0", "0.200000:2:2"];
        assert_eq!(texts(&response.raw_output_contents[0]), expected);
    }

    #[test]
    fn classes_are_named_and_at_most_all_are_listed() {
        let requested = [RequestedOutput::Classification(usize::MAX)];
        let response = from_predictions(&predicted(&["cat", "dog", "owl"]), &requested, String::new());
        assert_eq!(response.outputs[0].shape, [2, 3]);
        assert_eq!(texts(&response.raw_output_contents[0])[0], "0.500000:2:owl");
    }
}
