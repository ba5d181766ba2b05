//! The phases of a run's life, in their order.

/// Where a run is in its life. `lifecycle` takes it from one phase to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It was admitted.
    Accepted,
    /// It waits for a slot; its log is open.
    Queued,
    /// It has a slot; its data are read and its network is made.
    Preparing,
    /// It takes steps, and its log is open.
    Training,
    /// Its last step is taken, and its version is being published.
    Publishing,
    /// Its last event is being stored. The run leaves its slot once that is done.
    Ended,
}
