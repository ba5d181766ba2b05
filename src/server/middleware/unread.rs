//! The memory of responses that their callers do not read: a budget for all calls together.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Bytes of a response that are handed to the connection at once. Frames of this size and below are not counted: a
/// prediction for a few images stays below it.
pub const PIECE: usize = 16 << 10;

/// Largest number of bytes of responses that wait for their callers, of all calls together: some sixty predictions for
/// the largest number of images.
const MAX_UNREAD: usize = 128 << 20;

/// The bytes that wait for callers; clones share the count.
#[derive(Debug, Clone)]
pub struct UnreadBudget {
    used: Arc<AtomicUsize>,
    most: usize,
}

/// Bytes of one response that are counted until this is dropped.
#[derive(Debug)]
pub struct UnreadBytes {
    used: Arc<AtomicUsize>,
    bytes: usize,
}

impl UnreadBudget {
    pub fn new() -> Self {
        Self::of(MAX_UNREAD)
    }

    /// A budget of `most` bytes.
    pub fn of(most: usize) -> Self {
        Self { used: Arc::default(), most }
    }

    /// Counts the bytes of a response; `None` if too many wait. A response that is larger than the budget is let
    /// through while no other waits.
    pub fn reserve(&self, bytes: usize) -> Option<UnreadBytes> {
        let fits = |used: usize| (used == 0 || used + bytes <= self.most).then_some(used + bytes);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(UnreadBytes { used: self.used.clone(), bytes })
    }
}

impl Drop for UnreadBytes {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_counted_until_they_are_read() {
        let budget = UnreadBudget::of(10);
        let first = budget.reserve(6).unwrap();
        assert!(budget.reserve(5).is_none());
        let second = budget.reserve(4).unwrap();
        drop((first, second));
        let larger_than_all = budget.reserve(11).unwrap();
        assert!(budget.reserve(1).is_none());
        drop(larger_than_all);
        budget.reserve(10).unwrap();
    }
}
