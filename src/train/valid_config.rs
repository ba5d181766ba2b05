//! A request to train that was checked. It is checked once, where it enters; whoever has a `ValidTrainConfig` need not
//! check it again.

use super::TrainConfig;
use crate::{data::dataset::Dims, ids::FieldError, nn::LayerShape};

/// A request to train whose numbers are in range and whose layers fit each other and images of this size.
/// `TrainConfig::validate` alone makes one.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidTrainConfig {
    config: TrainConfig,
    dims: Dims,
    shapes: Vec<LayerShape>,
}

impl TrainConfig {
    /// Checks every number, and that the layers fit each other and images of this size. Errors with the first
    /// field that is not valid.
    pub fn validate(self, dims: Dims) -> Result<ValidTrainConfig, FieldError> {
        let shapes = self.check_for(dims)?;
        Ok(ValidTrainConfig { config: self, dims, shapes })
    }
}

impl ValidTrainConfig {
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    pub fn into_config(self) -> TrainConfig {
        self.config
    }

    /// The size of the images, and the number of classes.
    pub fn dims(&self) -> Dims {
        self.dims
    }

    /// The shapes of the layers.
    pub fn shapes(&self) -> &[LayerShape] {
        &self.shapes
    }

    /// Checks what only the number of training images decides: the batches that are inspected, and batch
    /// normalisation.
    pub fn check_images(&self, train_images: usize) -> Result<(), FieldError> {
        self.config.check_batch_norm(&self.shapes, train_images)?;
        let batches = train_images.div_ceil(self.config.batch_size as usize);
        self.config.check_inspected_batches(u32::try_from(batches).unwrap_or(u32::MAX))
    }
}
