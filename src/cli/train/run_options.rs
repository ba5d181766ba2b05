//! Flags of `digitd train` that resume, queue or only validate a run.

use crate::pb::digitd::v1::TrainRequest;

/// Options of a run that do not change what it trains.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Run")]
pub struct RunOptionArgs {
    /// Resume a cancelled or interrupted run from its last checkpoint; --epochs may be larger, every other
    /// flag must agree with the run
    #[arg(long, value_name = "RUN")]
    resume: Option<String>,

    /// Wait in the queue if another run trains; Ctrl-C cancels the run
    #[arg(long)]
    queue: bool,

    /// Validate the request and its data, and show the plan of the run; train nothing
    #[arg(long)]
    validate_only: bool,
}

impl RunOptionArgs {
    pub fn apply(&self, request: &mut TrainRequest) {
        if let Some(run) = &self.resume {
            request.resume_run_id.clone_from(run);
        }
        request.queue |= self.queue;
        request.validate_only |= self.validate_only;
    }
}
