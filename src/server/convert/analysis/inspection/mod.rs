//! `Inspect`: a network is described layer by layer.

mod request;
mod response;

pub use request::{InspectParams, OwnImage, inspect_request};
pub use response::from_inspection;

#[cfg(test)]
mod tests;
