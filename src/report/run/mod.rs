//! Runs by their events: the history of a run, its results, the differences between requests, and
//! the events as a table of comma-separated values.

mod csv;
mod history;
mod request_diff;
mod results;

pub use csv::csv;
pub use history::{RunHistory, short_ids};
pub use request_diff::{RequestDifference, distinguishing, request_differences};
pub use results::RunResults;
