//! Training runs: each is a state machine with a supervisor (`lifecycle`), an event log, and a place in the store that
//! survives its server.

mod arrays;
mod context;
mod event_chunk;
mod event_sender;
mod finisher;
mod hooks;
mod lease;
mod lifecycle;
mod log;
mod log_writer;
mod manager;
mod newest_weights;
mod observer;
mod phase;
mod plan;
mod publish;
mod record;
mod recovery;
mod resume;
mod retry;
mod run_state;
mod slots;
mod snapshot;
mod stop;
mod summary;
#[cfg(test)]
pub mod testing;
mod training_job;
mod training_thread;
mod watch;

pub use context::RunsConfig;
pub use manager::RunManager;
pub use observer::{Array, Observer};
pub use publish::{UnmovedAlias, move_aliases, unmoved_message};
pub use record::{Record, RunPage};
pub use slots::WhenBusy;
pub use summary::RunSummary;
pub use watch::Watch;
