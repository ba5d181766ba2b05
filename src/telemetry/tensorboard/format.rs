//! The files that TensorBoard reads: records of TensorFlow's TFRecord format, each an Event message.
//! Only the fields that are written here are declared; names and numbers are those of TensorFlow's
//! event.proto and summary.proto.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

use chrono::{DateTime, Utc};
use prost::Message as _;

/// One record.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    pub wall_time: f64,
    #[prost(int64, tag = "2")]
    pub step: i64,
    #[prost(oneof = "EventContent", tags = "3, 5, 7")]
    pub content: Option<EventContent>,
}

/// The content of a record.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum EventContent {
    /// The first record of a file.
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
    #[prost(message, tag = "7")]
    SessionLog(SessionLog),
}

/// Values of one step.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Summary {
    #[prost(message, repeated, tag = "1")]
    pub value: Vec<Value>,
}

/// A value under a name.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Value {
    #[prost(string, tag = "1")]
    pub tag: String,
    #[prost(oneof = "ValueKind", tags = "2, 4, 5")]
    pub kind: Option<ValueKind>,
}

/// The kinds of values that are written.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum ValueKind {
    #[prost(float, tag = "2")]
    SimpleValue(f32),
    #[prost(message, tag = "4")]
    Image(Image),
    #[prost(message, tag = "5")]
    Histo(Histogram),
}

/// An image as a PNG file.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Image {
    #[prost(int32, tag = "1")]
    pub height: i32,
    #[prost(int32, tag = "2")]
    pub width: i32,
    /// 1 grey, 3 RGB, 4 RGBA.
    #[prost(int32, tag = "3")]
    pub colorspace: i32,
    #[prost(bytes = "vec", tag = "4")]
    pub encoded_image_string: Vec<u8>,
}

/// Counts of values in buckets; bucket i ends at `bucket_limit[i]` and begins where the previous one ends.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Histogram {
    #[prost(double, tag = "1")]
    pub min: f64,
    #[prost(double, tag = "2")]
    pub max: f64,
    #[prost(double, tag = "3")]
    pub num: f64,
    #[prost(double, tag = "4")]
    pub sum: f64,
    #[prost(double, tag = "5")]
    pub sum_squares: f64,
    #[prost(double, repeated, tag = "6")]
    pub bucket_limit: Vec<f64>,
    #[prost(double, repeated, tag = "7")]
    pub bucket: Vec<f64>,
}

/// The start of a session: readers discard earlier records of its step and of later ones.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SessionLog {
    #[prost(int32, tag = "1")]
    pub status: i32,
}

impl SessionLog {
    pub const START: Self = Self { status: 1 };
}

/// An event file that is being written.
#[derive(Debug)]
pub struct EventFile {
    file: File,
}

impl EventFile {
    /// Begins a new file in a folder, which is created where it is missing. The name begins with the time,
    /// because readers take the files of a folder in the order of their names.
    pub fn begin(folder: &Path, now: DateTime<Utc>) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let name = format!(
            "events.out.tfevents.{:010}.{:06}.digitd",
            now.timestamp(),
            now.timestamp_subsec_micros()
        );
        let file = OpenOptions::new().write(true).create_new(true).open(folder.join(name))?;
        let mut file = Self { file };
        file.write(now, 0, EventContent::FileVersion("brain.Event:2".to_owned()))?;
        Ok(file)
    }

    /// Writes a whole record.
    pub fn write(&mut self, time: DateTime<Utc>, step: i64, content: EventContent) -> io::Result<()> {
        let wall_time = time.timestamp_micros() as f64 / 1e6;
        let event = Event { wall_time, step, content: Some(content) };
        self.file.write_all(&record(&event.encode_to_vec()))
    }
}

/// Whether a folder has event files.
pub fn has_events(folder: &Path) -> bool {
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.into_iter().any(|name| name.to_string_lossy().contains("tfevents"))
}

/// A record: length, its checksum, the data, its checksum; all little-endian (TensorFlow, "TFRecord format
/// details").
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend(masked_crc(&length).to_le_bytes());
    record.extend(data);
    record.extend(masked_crc(data).to_le_bytes());
    record
}

/// CRC-32C, rotated and shifted, so that data that contains checksums does not have trivial ones.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_the_masked_crc_32c() {
        // RFC 3720, B.4: the CRC-32C of 32 zeros is 0x8a9136aa; masked by hand.
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(masked_crc(&[0; 32]), 0x0fd7_fffa);
    }

    #[test]
    fn a_record_starts_with_its_length_and_ends_with_a_checksum() {
        let record = record(b"abc");
        assert_eq!(record.len(), 8 + 4 + 3 + 4);
        assert_eq!((&record[..8], &record[12..15]), (&[3, 0, 0, 0, 0, 0, 0, 0][..], &b"abc"[..]));
        assert_eq!(record[15..], masked_crc(b"abc").to_le_bytes());
    }

    #[test]
    fn a_file_is_found_and_two_files_have_different_names() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("run");
        assert!(!has_events(&below));
        let now = Utc::now();
        EventFile::begin(&below, now).unwrap();
        EventFile::begin(&below, now + chrono::TimeDelta::microseconds(1)).unwrap();
        assert!(has_events(&below));
        assert_eq!(fs::read_dir(&below).unwrap().count(), 2);
    }
}
