//! Points in time as messages carry them.

use chrono::{DateTime, Utc};
use prost_types::Timestamp;

use super::field::int;

pub fn from_time(time: DateTime<Utc>) -> Timestamp {
    // Within a leap second chrono counts nanoseconds beyond a whole second; the contract has no such value.
    let nanos = time.timestamp_subsec_nanos().min(999_999_999);
    Timestamp { seconds: time.timestamp(), nanos: int(nanos) }
}
