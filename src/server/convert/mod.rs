//! Messages of the contract ⇄ types of the rooms, grouped by service: the only files that see both. Every
//! field is checked here, so that the rooms never see a value that they cannot use.

pub mod analysis;
pub mod inference;
pub mod prediction;
pub mod registry;
pub mod shared;
pub mod training;
