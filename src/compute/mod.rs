//! What everything that computes shares: the device, named threads, the allocator's settings, how a version's
//! weights become a network, the error that callers see, and the metrics.

mod allocator;
mod device;
mod error;
mod metrics;
mod panic;
mod run_weights;
#[cfg(test)]
pub mod testing;
mod threads;
mod weights;

pub use allocator::keep_freed_memory;
pub use device::DeviceChoice;
pub use error::{Error, FailedRequirements};
pub use metrics::{CallOutcome, InferenceMetrics, Metrics, TrainingMetrics, VersionMetrics};
pub use panic::panic_message;
pub use run_weights::{RunWeights, WeightSnapshot, WeightsSource};
pub use tch::Device;
pub use threads::{JobThread, LIBTORCH_VERSION, Priority, ThreadSettings, cores, spawn};
pub use weights::{decode_network, decode_network_as};
