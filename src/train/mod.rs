//! Training: the resolved request (`config`), the events of a run (`event`), and the loop
//! (`Trainer::fit`). Knows nothing of where events and checkpoints go.

mod average;
mod check;
mod config;
mod event;
mod health;
mod inspect_at;
mod inspection;
mod logged_events;
mod loss_and_accuracy;
mod plan;
mod progress;
mod recipe;
mod recipe_config;
mod state;
mod step;
mod stopping;
mod totals;
mod trainer;
mod valid_config;
mod weights;

pub use crate::eval::Loss;
pub(crate) use crate::metric::finite;
pub use config::{TrainConfig, ValidationConfig};
pub use event::{
    BatchReport, CheckpointWritten, EpochReport, Event, FinishReason, RunFinished, RunQueued, RunStarted,
    RunState,
};
pub use health::{Measurement, Rule, Subject, Warning};
pub use inspect_at::InspectAt;
pub use inspection::Inspection;
pub use logged_events::LoggedEvents;
pub use loss_and_accuracy::LossAndAccuracy;
pub use plan::RunPlan;
pub use progress::{StepId, TrainingProgress};
pub use recipe::Recipe;
pub use stopping::{EarlyStopping, Metric};
pub use totals::StepTimings;
pub(crate) use trainer::device_name;
pub use trainer::{BestEpoch, Error, FitOutcome, FitResult, RunHooks, Trainer};
pub use valid_config::ValidTrainConfig;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
