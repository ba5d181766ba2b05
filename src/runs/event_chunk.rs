//! The stored form of events: JSON lines in chunks that are named after their first event.

use bytes::Bytes;

use super::record::Record;

/// A chunk of this size is sealed, and the next event begins another. It is also what a watcher reads at once and
/// what one write may have to repeat.
pub const SEAL_BYTES: usize = 64 << 10;

/// A chunk of this size accepts no more events of one gathered write. With the largest event behind it, an
/// inspection, it stays far below what the store reads.
pub const MAX_BYTES: usize = 1 << 20;

/// Appends an event as a line.
pub fn encode(record: &Record, lines: &mut Vec<u8>) {
    serde_json::to_writer(&mut *lines, record).expect("an event has string keys, and memory takes all");
    lines.push(b'\n');
}

/// The events of a chunk. A line that cannot be parsed (torn by a broken disk) is skipped and logged: the others
/// are worth having.
pub fn decode(lines: &Bytes) -> Vec<Record> {
    let records = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).filter_map(|line| {
        serde_json::from_slice::<Record>(line)
            .inspect_err(|error| tracing::warn!(%error, "skipping an unreadable event of a run"))
            .ok()
    });
    records.collect()
}
