//! `AnalysisService`: versions are evaluated, inspected and compared.

mod attribution;
mod findings;
mod target;

pub mod comparison;
pub mod evaluation;
pub mod inspection;
pub mod parameters;
