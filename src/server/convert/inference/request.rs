//! Requests to infer: the model, the input, the time limit and the outputs.

use std::{collections::BTreeMap, time::Duration};

use super::{
    fields::{LABEL, PROBABILITIES, model_reference, quoted, whole},
    tensor::{InputTensor, tensor},
};
use crate::{
    ids::FieldError,
    pb::inference::{InferParameter, ModelInferRequest, model_infer_request::InferRequestedOutputTensor},
    registry::ModelRef,
};

/// An inference, before it is known whether the tensor suits the version.
#[derive(Debug)]
pub struct InferParams {
    pub model: ModelRef,
    pub tensor: InputTensor,
    /// The caller stops waiting after this time.
    pub timeout: Option<Duration>,
    pub outputs: Vec<RequestedOutput>,
}

/// An output that the request names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestedOutput {
    Probabilities,
    Label,
    /// The labels of so many most probable classes, as texts.
    Classification(usize),
}

impl RequestedOutput {
    /// The name of the output tensor.
    pub fn name(self) -> &'static str {
        match self {
            Self::Probabilities | Self::Classification(_) => PROBABILITIES,
            Self::Label => LABEL,
        }
    }
}

pub fn infer_request(request: ModelInferRequest) -> Result<InferParams, FieldError> {
    let model =
        model_reference(("model_name", &request.model_name), ("model_version", &request.model_version))?;
    let timeout = match request.parameters.get("timeout") {
        None => None,
        Some(micros) => Some(Duration::from_micros(whole(r#"parameters["timeout"]"#, micros)?)),
    };
    Ok(InferParams {
        model,
        tensor: tensor(request.inputs, request.raw_input_contents)?,
        // Clients send 0 for no time limit.
        timeout: timeout.filter(|timeout| !timeout.is_zero()),
        outputs: requested_outputs(&request.outputs)?,
    })
}

/// The outputs that the request names, or all if it names none.
fn requested_outputs(outputs: &[InferRequestedOutputTensor]) -> Result<Vec<RequestedOutput>, FieldError> {
    if outputs.is_empty() {
        return Ok(vec![RequestedOutput::Probabilities, RequestedOutput::Label]);
    }
    let mut all = Vec::new();
    for (index, output) in outputs.iter().enumerate() {
        let path = format!("outputs[{index}]");
        let requested = match output.name.as_str() {
            PROBABILITIES => probabilities(&path, &output.parameters)?,
            LABEL if output.parameters.contains_key("classification") => {
                let message =
                    format!("asks for the classification of {LABEL:?}: ask for that of {PROBABILITIES:?}");
                return Err(FieldError::new(format!("{path}.parameters"), message));
            }
            LABEL => RequestedOutput::Label,
            other => {
                let message =
                    format!("is {}: the model outputs {PROBABILITIES:?} and {LABEL:?}", quoted(other));
                return Err(FieldError::new(format!("{path}.name"), message));
            }
        };
        if output.parameters.contains_key("shared_memory_region") {
            let message = "names shared memory, which is not served: take the values from the response";
            return Err(FieldError::new(format!("{path}.parameters"), message));
        }
        // Otherwise the response could be larger than all outputs of the model.
        if all.iter().any(|before: &RequestedOutput| before.name() == requested.name()) {
            return Err(FieldError::new(format!("{path}.name"), "is named twice: request each output once"));
        }
        all.push(requested);
    }
    Ok(all)
}

fn probabilities(
    path: &str,
    parameters: &BTreeMap<String, InferParameter>,
) -> Result<RequestedOutput, FieldError> {
    let Some(count) = parameters.get("classification") else { return Ok(RequestedOutput::Probabilities) };
    let count = whole(&format!(r#"{path}.parameters["classification"]"#), count)?;
    // A count above the number of classes means all classes, and 0 means no classification.
    Ok(match usize::try_from(count).unwrap_or(usize::MAX) {
        0 => RequestedOutput::Probabilities,
        count => RequestedOutput::Classification(count),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::inference::infer_parameter::ParameterChoice;

    fn number(value: i64) -> InferParameter {
        InferParameter { parameter_choice: Some(ParameterChoice::Int64Param(value)) }
    }

    fn output(name: &str, parameters: &[(&str, i64)]) -> InferRequestedOutputTensor {
        let parameters = parameters.iter().map(|(key, value)| ((*key).to_owned(), number(*value)));
        InferRequestedOutputTensor { name: name.to_owned(), parameters: parameters.collect() }
    }

    #[test]
    fn outputs_come_in_the_requested_order() {
        assert_eq!(requested_outputs(&[]).unwrap(), [RequestedOutput::Probabilities, RequestedOutput::Label]);
        let requested = [output("label", &[]), output("probabilities", &[("classification", 3)])];
        assert_eq!(
            requested_outputs(&requested).unwrap(),
            [RequestedOutput::Label, RequestedOutput::Classification(3)]
        );
        assert_eq!(
            requested_outputs(&[output("probabilities", &[("classification", 0)])]).unwrap(),
            [RequestedOutput::Probabilities]
        );
    }

    #[test]
    fn impossible_outputs_are_named() {
        let field = |outputs: &[_]| requested_outputs(outputs).unwrap_err().field;
        assert_eq!(field(&[output("label", &[]), output("x", &[])]), "outputs[1].name");
        assert_eq!(field(&[output("label", &[]), output("label", &[])]), "outputs[1].name");
        assert_eq!(field(&[output("label", &[("classification", 1)])]), "outputs[0].parameters");
        let negative = output("probabilities", &[("classification", -1)]);
        assert_eq!(field(&[negative]), r#"outputs[0].parameters["classification"]"#);
        let shared = output("probabilities", &[("shared_memory_region", 1)]);
        assert_eq!(field(&[shared]), "outputs[0].parameters");
    }

    #[test]
    fn a_timeout_is_in_microseconds_and_none_where_it_is_zero() {
        let with = |micros| {
            let input = crate::pb::inference::model_infer_request::InferInputTensor {
                name: "input".to_owned(),
                datatype: "UINT8".to_owned(),
                ..Default::default()
            };
            let parameters = [("timeout".to_owned(), number(micros))].into();
            infer_request(ModelInferRequest { inputs: vec![input], parameters, ..Default::default() })
        };
        assert_eq!(with(1500).unwrap().timeout, Some(Duration::from_micros(1500)));
        assert_eq!(with(0).unwrap().timeout, None);
        assert_eq!(with(-1).unwrap_err().field, r#"parameters["timeout"]"#);
    }
}
