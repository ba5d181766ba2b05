//! The size of a run, computed before it starts.

use super::{TrainConfig, ValidTrainConfig};
use crate::{
    data::dataset::Dims,
    ids::FieldError,
    nn::{LayerShape, ParameterShape},
    optim::OptimizerConfig,
};

/// The size of a run that a request would start.
#[derive(Debug, Clone, PartialEq)]
pub struct RunPlan {
    pub config: TrainConfig,
    pub train_images: usize,
    pub validation_images: usize,
    pub batches_per_epoch: usize,
    pub total_steps: u64,
    pub total_parameters: u64,
    /// The multiply-adds of the forward pass of one image.
    pub multiply_adds: u64,
    /// The memory of the run in bytes, in addition to that of the process: an estimate, see `memory`.
    pub memory_bytes: u64,
}

impl RunPlan {
    /// Plans a request for numbers of training and validation images. Errors if its inspected batches or its batch normalisation do not fit these
    /// numbers.
    pub fn new(config: ValidTrainConfig, images: [usize; 2]) -> Result<Self, FieldError> {
        let [train_images, validation_images] = images;
        config.check_images(train_images)?;
        let (dims, shapes) = (config.dims(), config.shapes().to_vec());
        let config = config.into_config();
        let batches_per_epoch = train_images.div_ceil(config.batch_size as usize);
        let parameters = shapes.iter().flat_map(|shape| &shape.parameters);
        let total_parameters = parameters.map(ParameterShape::count).sum::<i64>().unsigned_abs();
        Ok(Self {
            train_images,
            validation_images,
            batches_per_epoch,
            total_steps: batches_per_epoch as u64 * u64::from(config.epochs),
            total_parameters,
            multiply_adds: shapes.iter().map(|shape| shape.multiply_adds).sum::<i64>().unsigned_abs(),
            memory_bytes: memory(&config, dims, images, &shapes),
            config,
        })
    }
}

/// An estimate of the bytes that a run takes, for s bytes a value (4 in float32 and bfloat16, whose
/// weights are float32 too; 8 in float64):
///
/// ```text
/// images (height width + 8) + s parameters (3 + slots + average) + 2 s batch (height width + outputs)
/// ```
///
/// Images of training and validation are bytes, their labels eight each. Parameters, running statistics
/// among them, are there as values, gradients and the best epoch's, in each slot of the optimizer (adam
/// 2, momentum and adagrad 1, sgd 0), and once more where they are averaged. A batch is there as its
/// images and the outputs of all layers, forward and back; it is never larger than the training set.
/// What libtorch takes for itself, and buffers of a single operation, are not in it.
fn memory(config: &TrainConfig, dims: Dims, images: [usize; 2], shapes: &[LayerShape]) -> u64 {
    let [train_images, validation_images] = images;
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
    let batch = u64::from(config.batch_size).min(train_images as u64) * 2 * (area + outputs);
    (train_images + validation_images) as u64 * (area + 8) + size * (copies * parameters + batch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{nn::Precision, optim::WeightAveraging, train::InspectAt};

    #[test]
    fn the_size_of_the_tutorials_run_is_the_one_computed_by_hand() {
        let config = TrainConfig::default();
        let config = config.validate(Dims::MNIST).unwrap();
        let plan = RunPlan::new(config, [50_000, 10_000]).unwrap();
        assert_eq!((plan.batches_per_epoch, plan.total_steps), (500, 2_500));
        assert_eq!((plan.total_parameters, plan.multiply_adds), (20_350, 2_361_800));
        // Outputs: 2 x 15 680 + 3 920, 2 x 3 920 + 980, 980 and 10.
        let outputs = 35_280 + 8_820 + 980 + 10;
        let batch = 100 * 2 * (784 + outputs);
        assert_eq!(plan.memory_bytes, 60_000 * 792 + 4 * (5 * 20_350 + batch));
    }

    #[test]
    fn precision_optimizer_averaging_and_a_small_set_count() {
        let config = TrainConfig {
            precision: Precision::Float64,
            optimizer: OptimizerConfig::sgd(0.1),
            weight_averaging: Some(WeightAveraging { decay: 0.9 }),
            ..TrainConfig::default()
        };
        let config = config.validate(Dims::MNIST).unwrap();
        let plan = RunPlan::new(config, [30, 10]).unwrap();
        let batch = 30 * 2 * (784 + 45_090);
        assert_eq!(plan.memory_bytes, 40 * 792 + 8 * (4 * 20_350 + batch));
    }

    #[test]
    fn a_batch_to_inspect_that_is_beyond_the_epoch_is_rejected() {
        let far = InspectAt { epoch: 1, batch: 2, shapes: true, contents: false };
        let config = TrainConfig { inspect_at: vec![far], ..TrainConfig::default() };
        let config = config.validate(Dims::MNIST).unwrap();
        assert_eq!(RunPlan::new(config, [100, 0]).unwrap_err().field, "inspect_at[0].batch");
    }

    #[test]
    fn a_last_batch_that_is_not_full_counts() {
        let config = TrainConfig { batch_size: 64, ..TrainConfig::default() };
        let config = config.validate(Dims::MNIST).unwrap();
        assert_eq!(RunPlan::new(config, [100, 0]).unwrap().total_steps, 10);
    }
}
