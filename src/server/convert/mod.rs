//! Messages of the contract ⇄ types of the rooms: the only files that see both. Every field is
//! checked here, so that nothing behind this border meets a request that cannot be.

pub mod attribution;
pub mod augmentation;
pub mod comparison;
pub mod dataset;
pub mod evaluation;
pub mod event;
pub mod field;
pub mod findings;
pub mod import;
pub mod inference;
pub mod inspect;
pub mod inspection;
pub mod model;
pub mod network;
pub mod optimizer;
pub mod overlay;
pub mod parameters;
pub mod picture;
pub mod precision;
pub mod prediction;
pub mod recipe;
pub mod resume;
pub mod run;
pub mod schedule;
pub mod stopping;
pub mod train;
pub mod warning;

pub use field::Invalid;
