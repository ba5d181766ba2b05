//! What messages of several services have in common.

pub mod dataset;
pub mod enums;
pub mod field;
pub mod images;
pub mod page;
pub mod ranking;
pub mod reference;
pub mod report;
pub mod time;
