//! Which batches a run shows layer by layer.

use serde::{Deserialize, Serialize};

/// A batch to inspect, and how much of it to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InspectAt {
    /// Counted from 1, as is `batch` (in its epoch).
    pub epoch: u32,
    pub batch: u32,
    /// Whether hyper-parameters and shapes of every layer are shown.
    pub shapes: bool,
    /// Whether parameters and outputs are shown.
    pub contents: bool,
}
