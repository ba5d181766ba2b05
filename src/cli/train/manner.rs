//! Flags of `digitd train` that say how a run is asked for, not what it is.

use crate::pb::digitd::v1::TrainRequest;

/// Where a run begins, and when.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Run")]
pub struct MannerArgs {
    /// Go on with a run that was cancelled or interrupted, from its last checkpoint; --epochs may ask
    /// for more of them, every other flag must say what the run has
    #[arg(long, value_name = "RUN")]
    resume: Option<String>,

    /// Wait where another run trains; Ctrl-C cancels the run that waits
    #[arg(long)]
    queue: bool,

    /// Check the request and its data, and tell what it would run; train nothing
    #[arg(long)]
    validate_only: bool,
}

impl MannerArgs {
    pub fn apply(&self, request: &mut TrainRequest) {
        if let Some(run) = &self.resume {
            request.resume_run_id.clone_from(run);
        }
        request.queue |= self.queue;
        request.validate_only |= self.validate_only;
    }
}
