//! How predictions are queued and batched.

use std::time::Duration;

use crate::{
    compute::{Device, Error, cores},
    nn::Precision,
};

/// How many versions are loaded, and how the predictions of each are queued and batched.
#[derive(Debug, Clone)]
pub struct BatchConfig {
    /// Threads with a copy of the network each; 0 for one per core, and two on a GPU.
    pub workers: usize,
    /// Largest number of images of one forward pass.
    pub max_batch_size: usize,
    /// Longest time that the first image of a batch waits for others. A batch forms while the workers are busy
    /// anyway.
    pub max_queue_delay: Duration,
    /// Largest number of images that wait.
    pub queue_capacity: usize,
    /// Largest number of versions that stay loaded; the least recently used one is evicted first.
    pub max_loaded_versions: usize,
    /// Precision of the products in convolutions and linear layers: bfloat16 if the device has units for it,
    /// float32 otherwise.
    pub precision: Precision,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self {
            workers: 0,
            max_batch_size: 64,
            max_queue_delay: Duration::ZERO,
            queue_capacity: 512,
            max_loaded_versions: 8,
            precision: Precision::Float32,
        }
    }
}

impl BatchConfig {
    /// The number of threads with a copy of the network each.
    pub fn worker_count(&self, device: Device) -> usize {
        // A GPU computes batch after batch: one worker waits for it while the other makes the next batch, and more
        // of them would only wait, with smaller batches.
        const ON_GPU: usize = 2;
        match self.workers {
            0 if device.is_cuda() => ON_GPU,
            0 => cores(),
            workers => workers,
        }
    }

    /// Errors with the first field that is out of range.
    pub fn check(&self) -> Result<(), Error> {
        for (field, value) in [
            ("max_batch_size", self.max_batch_size),
            ("queue_capacity", self.queue_capacity),
            ("max_loaded_versions", self.max_loaded_versions),
        ] {
            if value == 0 {
                return Err(Error::field(field, "is 0: use 1 or more"));
            }
        }
        Ok(())
    }
}
