//! Names and times of the contract as people read them.

use chrono::{DateTime, Local, Utc};
use prost_types::Timestamp;

/// `RUN_STATE_COMPLETED` as `completed`: the name without its enum's prefix.
pub fn name_of(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).trim_start_matches('_').to_ascii_lowercase().replace('_', " ")
}

/// A time in the local zone, to the second; `-` where there is none.
pub fn day_time(time: Option<&Timestamp>) -> String {
    formatted(time, "%Y-%m-%d %H:%M:%S")
}

/// The same to the minute and without the year, for tables.
pub fn short_time(time: Option<&Timestamp>) -> String {
    formatted(time, "%b %d %H:%M")
}

fn formatted(time: Option<&Timestamp>, format: &str) -> String {
    let utc = time.and_then(|time| DateTime::<Utc>::from_timestamp(time.seconds, time.nanos.unsigned_abs()));
    utc.map_or_else(|| "-".to_owned(), |utc| utc.with_timezone(&Local).format(format).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_their_prefix() {
        assert_eq!(name_of("FINISH_REASON_NON_FINITE", "FINISH_REASON"), "non finite");
        assert_eq!(name_of("OTHER", "FINISH_REASON"), "other");
    }

    #[test]
    fn a_time_that_is_not_there_is_a_dash() {
        assert_eq!(day_time(None), "-");
        assert_eq!(day_time(Some(&Timestamp { seconds: i64::MAX, nanos: 0 })), "-");
    }
}
