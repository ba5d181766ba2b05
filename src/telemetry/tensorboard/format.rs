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
    #[prost(oneof = "What", tags = "3, 5, 7")]
    pub what: Option<What>,
}

/// What a record holds.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum What {
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
    #[prost(oneof = "Kind", tags = "2, 4, 5")]
    pub kind: Option<Kind>,
}

/// The kinds of values that are written here.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Kind {
    #[prost(float, tag = "2")]
    SimpleValue(f32),
    #[prost(message, tag = "4")]
    Image(Image),
    #[prost(message, tag = "5")]
    Histo(Histogram),
}

/// A picture as a PNG file.
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

/// How often values fall into buckets; bucket i ends at `bucket_limit[i]` and begins where the one
/// before ends.
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

/// A beginning: readers forget what they read of this step and later ones before.
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
    /// Begins a file of its own in a folder, which is made where it is missing. Readers take the files
    /// of a folder in the order of their names, so that they begin with the time.
    pub fn begin(folder: &Path, now: DateTime<Utc>) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let name = format!(
            "events.out.tfevents.{:010}.{:06}.digitd",
            now.timestamp(),
            now.timestamp_subsec_micros()
        );
        let file = OpenOptions::new().write(true).create_new(true).open(folder.join(name))?;
        let mut file = Self { file };
        file.write(now, 0, What::FileVersion("brain.Event:2".to_owned()))?;
        Ok(file)
    }

    /// Writes a record, whole.
    pub fn write(&mut self, time: DateTime<Utc>, step: i64, what: What) -> io::Result<()> {
        let wall_time = time.timestamp_micros() as f64 / 1e6;
        let event = Event { wall_time, step, what: Some(what) };
        self.file.write_all(&record(&event.encode_to_vec()))
    }
}

/// Whether a folder has event files.
pub fn has_events(folder: &Path) -> bool {
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.into_iter().any(|name| name.to_string_lossy().contains("tfevents"))
}

/// Length, its checksum, the data, its checksum; all little-endian (TensorFlow, "TFRecord format
/// details").
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend(masked_crc(&length).to_le_bytes());
    record.extend(data);
    record.extend(masked_crc(data).to_le_bytes());
    record
}

/// CRC-32C, turned and shifted so that a checksum of data that holds checksums is none of them.
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
    fn a_record_has_its_length_before_and_a_checksum_behind() {
        let record = record(b"abc");
        assert_eq!(record.len(), 8 + 4 + 3 + 4);
        assert_eq!((&record[..8], &record[12..15]), (&[3, 0, 0, 0, 0, 0, 0, 0][..], &b"abc"[..]));
        assert_eq!(record[15..], masked_crc(b"abc").to_le_bytes());
    }

    #[test]
    fn a_file_is_found_again_and_two_have_two_names() {
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
