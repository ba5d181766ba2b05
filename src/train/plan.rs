//! What a request would run, before it does.

use super::{Invalid, TrainConfig};
use crate::{
    data::dataset::Dims,
    nn::{LayerShape, ParameterShape},
    optim::OptimizerConfig,
};

/// A run as it would be.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub config: TrainConfig,
    pub train_images: usize,
    pub validation_images: usize,
    pub batches_per_epoch: usize,
    pub total_steps: u64,
    pub total_parameters: u64,
    /// Of one image forward.
    pub multiply_adds: u64,
    /// What the run takes beside what the process takes anyway: an estimate, see `memory`.
    pub memory_bytes: u64,
}

impl Plan {
    /// Of a request that was checked but for its inspected batches, whose layers have these shapes; so
    /// many training and validation images.
    pub fn new(
        config: TrainConfig,
        dims: Dims,
        images: [usize; 2],
        shapes: &[LayerShape],
    ) -> Result<Self, Invalid> {
        let [train_images, validation_images] = images;
        let batches_per_epoch = train_images.div_ceil(config.batch_size as usize);
        config.check_inspected_batches(batches_per_epoch as u32)?;
        let parameters = shapes.iter().flat_map(|shape| &shape.parameters);
        let total_parameters = parameters.map(ParameterShape::count).sum::<i64>().unsigned_abs();
        Ok(Self {
            train_images,
            validation_images,
            batches_per_epoch,
            total_steps: batches_per_epoch as u64 * u64::from(config.epochs),
            total_parameters,
            multiply_adds: shapes.iter().map(|shape| shape.multiply_adds).sum::<i64>().unsigned_abs(),
            memory_bytes: memory(&config, dims, train_images + validation_images, shapes),
            config,
        })
    }
}

/// Bytes of the images (a byte a pixel and eight for the label); of the parameters, once for
/// themselves, their gradients, each slot of the optimizer, the average and the best epoch's; and of a
/// batch: its images and every layer's output, forward and back.
fn memory(config: &TrainConfig, dims: Dims, images: usize, shapes: &[LayerShape]) -> u64 {
    let size = config.precision.kind().elt_size_in_bytes() as u64;
    let area = dims.area() as u64;
    let arrays = shapes.iter().flat_map(|shape| shape.parameters.iter().chain(&shape.running_statistics));
    let parameters = arrays.map(ParameterShape::count).sum::<i64>().unsigned_abs();
    let slots = match config.optimizer {
        OptimizerConfig::Sgd { .. } => 0,
        OptimizerConfig::Momentum { .. } | OptimizerConfig::Adagrad { .. } => 1,
        OptimizerConfig::Adam { .. } => 2,
    };
    let copies = 3 + slots + u64::from(config.weight_averaging.is_some());
    let outputs = shapes.iter().map(|shape| shape.output.len()).sum::<i64>().unsigned_abs();
    let batch = u64::from(config.batch_size) * 2 * (area + outputs);
    images as u64 * (area + 8) + size * (copies * parameters + batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tutorials_run_is_as_large_as_reckoned_by_hand() {
        let config = TrainConfig::default();
        let shapes = config.check_for(Dims::MNIST).unwrap();
        let plan = Plan::new(config, Dims::MNIST, [50_000, 10_000], &shapes).unwrap();
        assert_eq!((plan.batches_per_epoch, plan.total_steps), (500, 2_500));
        assert_eq!((plan.total_parameters, plan.multiply_adds), (20_350, 2_361_800));
        // Outputs: 2 x 15 680 + 3 920, 2 x 3 920 + 980, 980 and 10.
        let outputs = 35_280 + 8_820 + 980 + 10;
        let batch = 100 * 2 * (784 + outputs);
        assert_eq!(plan.memory_bytes, 60_000 * 792 + 4 * (5 * 20_350 + batch));
    }

    #[test]
    fn a_last_batch_that_is_not_full_counts() {
        let config = TrainConfig { batch_size: 64, ..TrainConfig::default() };
        let shapes = config.check_for(Dims::MNIST).unwrap();
        assert_eq!(Plan::new(config, Dims::MNIST, [100, 0], &shapes).unwrap().total_steps, 10);
    }
}
