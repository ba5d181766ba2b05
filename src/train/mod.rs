//! Training: the request as resolved (`config`), what a run reports (`event`), and the loop
//! (`Trainer::fit`). Knows nothing of where events and checkpoints go.

mod average;
mod check;
mod config;
mod event;
mod health;
mod inspection;
mod logged_events;
mod plan;
mod recipe;
mod state;
mod step;
mod stopping;
mod totals;
mod trainer;
mod weights;

pub use crate::eval::Loss;
pub(crate) use crate::metric::finite;
pub use check::Invalid;
pub use config::{TrainConfig, ValidationConfig};
pub use event::{
    BatchReport, CheckpointWritten, EpochReport, Event, FinishReason, Finished, Measured, Queued, RunState,
    Started,
};
pub use health::{Measurement, Rule, Subject, Warning};
pub use inspection::{InspectAt, Inspection};
pub use logged_events::LoggedEvents;
pub use plan::Plan;
pub use recipe::Recipe;
pub use state::{StepId, TrainingProgress};
pub use stopping::{EarlyStopping, Metric};
pub use totals::StepTimings;
pub(crate) use trainer::device_name;
pub use trainer::{BestEpoch, Ending, Error, FitResult, RunHooks, Trainer};

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
