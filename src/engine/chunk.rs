//! Events as they are kept: JSON, a line each, in chunks that are named after their first event.

use bytes::Bytes;

use super::Record;

/// A chunk of this size is sealed: the next event begins another. It is also what a watcher reads
/// at once and what one write may have to repeat.
pub(super) const SEAL_BYTES: usize = 64 << 10;

/// A chunk of this size takes no more events of those that were gathered for one write. With the largest
/// event behind it, an inspection, it stays far below what the store reads.
pub(super) const MOST_BYTES: usize = 1 << 20;

/// Adds a line.
pub(super) fn encode(record: &Record, lines: &mut Vec<u8>) {
    serde_json::to_writer(&mut *lines, record).expect("an event has string keys, and memory takes all");
    lines.push(b'\n');
}

/// The events of a chunk. A line that is none (torn by a broken disk) is left out, and told to the
/// log: the others are worth having.
pub(super) fn decode(lines: &Bytes) -> Vec<Record> {
    let records = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).filter_map(|line| {
        serde_json::from_slice::<Record>(line)
            .inspect_err(|error| tracing::warn!(%error, "an event of a run is unreadable and left out"))
            .ok()
    });
    records.collect()
}
