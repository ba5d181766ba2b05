//! Times of the contract as people read them.

use chrono::{DateTime, Local, Utc};
use prost_types::Timestamp;

/// A time in the local zone, to the second; `-` where there is none.
pub fn date_time(time: Option<&Timestamp>) -> String {
    formatted(time, "%Y-%m-%d %H:%M:%S")
}

/// A time in the local zone, to the minute and without the year, for tables.
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
    fn a_missing_time_is_a_dash() {
        assert_eq!(date_time(None), "-");
        assert_eq!(date_time(Some(&Timestamp { seconds: i64::MAX, nanos: 0 })), "-");
    }
}
