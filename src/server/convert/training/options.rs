//! How a run is requested, which is no part of the run itself: it is not stored with it, and a run that is
//! resumed may be requested in another way.

use crate::{engine::WhenBusy, pb::digitd::v1};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunOptions {
    pub on_disconnect: OnDisconnect,
    pub when_busy: WhenBusy,
    pub mode: RunMode,
}

/// Whether a valid request is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunMode {
    Train,
    /// The response is the plan of the run, and nothing runs.
    Validate,
}

/// What happens to a run whose caller disconnects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDisconnect {
    /// The run continues.
    Detach,
    Cancel,
}

impl RunOptions {
    pub fn of(request: &v1::TrainRequest) -> Self {
        Self {
            on_disconnect: match request.cancel_on_disconnect {
                true => OnDisconnect::Cancel,
                false => OnDisconnect::Detach,
            },
            when_busy: if request.queue { WhenBusy::Wait } else { WhenBusy::Reject },
            mode: if request.validate_only { RunMode::Validate } else { RunMode::Train },
        }
    }
}
