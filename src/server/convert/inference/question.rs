//! A request to read pictures: whom it asks, what, how soon, and which answers it wants.

use std::{collections::BTreeMap, time::Duration};

use super::{
    LABEL, PROBABILITIES, quoted, reference,
    tensor::{Tensor, tensor},
    whole,
};
use crate::{
    pb::inference::{InferParameter, ModelInferRequest, model_infer_request::InferRequestedOutputTensor},
    registry::ModelRef,
    server::convert::Invalid,
};

/// A request in the words of the rooms.
#[derive(Debug)]
pub struct Question {
    pub model: ModelRef,
    pub tensor: Tensor,
    /// After this the answer is not needed any more.
    pub timeout: Option<Duration>,
    pub wanted: Vec<Wanted>,
}

/// An answer that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Probabilities,
    Label,
    /// The most probable classes as texts; how many.
    Classification(usize),
}

impl Wanted {
    /// The output that it is an answer of.
    pub fn output(self) -> &'static str {
        match self {
            Self::Probabilities | Self::Classification(_) => PROBABILITIES,
            Self::Label => LABEL,
        }
    }
}

pub fn infer_request(request: ModelInferRequest) -> Result<Question, Invalid> {
    let model = reference(("model_name", &request.model_name), ("model_version", &request.model_version))?;
    let timeout = match request.parameters.get("timeout") {
        None => None,
        Some(micros) => Some(Duration::from_micros(whole(r#"parameters["timeout"]"#, micros)?)),
    };
    Ok(Question {
        model,
        tensor: tensor(request.inputs, request.raw_input_contents)?,
        // 0 is how clients say that there is none.
        timeout: timeout.filter(|timeout| !timeout.is_zero()),
        wanted: wanted(&request.outputs)?,
    })
}

/// The answers that are asked for; all where none is named.
fn wanted(outputs: &[InferRequestedOutputTensor]) -> Result<Vec<Wanted>, Invalid> {
    if outputs.is_empty() {
        return Ok(vec![Wanted::Probabilities, Wanted::Label]);
    }
    let mut all = Vec::new();
    for (index, output) in outputs.iter().enumerate() {
        let place = format!("outputs[{index}]");
        let wanted = match output.name.as_str() {
            PROBABILITIES => probabilities(&place, &output.parameters)?,
            LABEL if output.parameters.contains_key("classification") => {
                let message =
                    format!("asks for the classification of {LABEL:?}: ask for that of {PROBABILITIES:?}");
                return Err(Invalid::new(format!("{place}.parameters"), message));
            }
            LABEL => Wanted::Label,
            other => {
                let message =
                    format!("is {}: the model answers {PROBABILITIES:?} and {LABEL:?}", quoted(other));
                return Err(Invalid::new(format!("{place}.name"), message));
            }
        };
        if output.parameters.contains_key("shared_memory_region") {
            let message = "names shared memory, which is not served: take the values from the answer";
            return Err(Invalid::new(format!("{place}.parameters"), message));
        }
        // So that the answer is no larger than the model's outputs are.
        if all.iter().any(|before: &Wanted| before.output() == wanted.output()) {
            return Err(Invalid::new(format!("{place}.name"), "is named twice: ask for each output once"));
        }
        all.push(wanted);
    }
    Ok(all)
}

fn probabilities(place: &str, parameters: &BTreeMap<String, InferParameter>) -> Result<Wanted, Invalid> {
    let Some(count) = parameters.get("classification") else { return Ok(Wanted::Probabilities) };
    let count = whole(&format!(r#"{place}.parameters["classification"]"#), count)?;
    // More than there are classes means all of them, and none means that none are asked for.
    Ok(match usize::try_from(count).unwrap_or(usize::MAX) {
        0 => Wanted::Probabilities,
        count => Wanted::Classification(count),
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
    fn outputs_are_answered_in_the_order_that_they_are_asked_for() {
        assert_eq!(wanted(&[]).unwrap(), [Wanted::Probabilities, Wanted::Label]);
        let asked = [output("label", &[]), output("probabilities", &[("classification", 3)])];
        assert_eq!(wanted(&asked).unwrap(), [Wanted::Label, Wanted::Classification(3)]);
        assert_eq!(
            wanted(&[output("probabilities", &[("classification", 0)])]).unwrap(),
            [Wanted::Probabilities]
        );
    }

    #[test]
    fn outputs_that_cannot_be_are_named() {
        let field = |outputs: &[_]| wanted(outputs).unwrap_err().field;
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
