//! `state.json` of a run: what is known of it without reading its events.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{lease::ServerId, summary::RunSummary};

/// The stored state of a run. The server that trains it refreshes it while the run lives.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredState {
    #[serde(rename = "owner")]
    pub server: ServerId,
    pub refreshed: DateTime<Utc>,
    pub summary: RunSummary,
}
