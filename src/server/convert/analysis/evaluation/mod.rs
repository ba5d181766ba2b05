//! `Evaluate`: a version is measured, and compared with its requirements.

mod request;
mod response;

pub use request::{evaluate_request, gated_alias};
pub use response::{from_evaluation, from_finished, from_progress};

#[cfg(test)]
mod tests;
