//! Messages of the Open Inference Protocol ⇄ types of the rooms. Every model has one input, `input`, and two
//! outputs, `probabilities` and `label`.

mod fields;
mod request;
mod response;
mod tensor;

pub mod describe;

pub use fields::model_reference;
pub use request::infer_request;
pub use response::{cost, error_facts, from_predictions, last_of_request};
