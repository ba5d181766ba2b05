//! The flags that say how a run is asked for.

use crate::pb::digitd::v1::TrainRequest;

/// What becomes of the request before it trains.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Run")]
pub struct MannerArgs {
    /// Wait where another run trains; Ctrl-C cancels the run that waits
    #[arg(long)]
    queue: bool,

    /// Check the request and its data, and tell what it would run; train nothing
    #[arg(long)]
    validate_only: bool,
}

impl MannerArgs {
    pub fn apply(&self, request: &mut TrainRequest) {
        request.queue |= self.queue;
        request.validate_only |= self.validate_only;
    }
}
