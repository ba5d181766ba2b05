//! `PredictionService`: images go to a network, and its predictions come back.

mod request;
mod response;

pub use request::{check_listed, predict_request};
pub use response::{cost, from_predictions};
