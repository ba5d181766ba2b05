//! Which training requests make sense. Fields are named as callers write them.

mod initial;
mod inspection;
mod regularize;

use super::TrainConfig;
use crate::{
    data::{ValidationSize, dataset::Dims},
    ids::FieldError,
    nn::{self, LayerShape, Shape},
    optim::{Decay, OptimizerConfig, ScheduleShape},
};

impl TrainConfig {
    pub const MAX_EPOCHS: u32 = 10_000;
    pub const MAX_BATCH_SIZE: u32 = 65_536;

    /// Most values in float32 of a batch over the input and all layers' outputs, which training keeps for the
    /// way back: 2 GiB in float32, 11 703 images of the tutorial's network.
    const MAX_BATCH_VALUES: i64 = 1 << 29;

    /// Largest learning rate; a rate that a schedule has raised is then finite as well.
    const MAX_LEARNING_RATE: f64 = 1e30;

    /// Largest factor by which a schedule may raise the learning rate.
    const MAX_SCHEDULE_FACTOR: f64 = 1e6;

    /// Checks the request for MNIST's images.
    #[cfg(test)]
    pub fn check(&self) -> Result<(), FieldError> {
        self.check_for(Dims::MNIST).map(drop)
    }

    /// Checks every number and that the layers fit together and to such images; the shapes of the
    /// layers where all is well.
    pub(super) fn check_for(&self, images: Dims) -> Result<Vec<LayerShape>, FieldError> {
        let input = Shape::grey(images.height, images.width);
        between("epochs", self.epochs, 1, Self::MAX_EPOCHS)?;
        between("batch_size", self.batch_size, 1, Self::MAX_BATCH_SIZE)?;
        between("report_every_batches", self.report_every_batches, 1, i32::MAX.unsigned_abs())?;
        between("validation.every_epochs", self.validation.every_epochs, 1, Self::MAX_EPOCHS)?;
        if let ValidationSize::Fraction(share) = self.validation.size
            && !(0.0..1.0).contains(&share)
        {
            return Err(FieldError::new(
                "validation.fraction",
                format!("is {share}: use a share from 0 to below 1"),
            ));
        }
        self.check_stopping()?;
        self.check_optimizer()?;
        self.check_schedule()?;
        self.check_decay("regularization", self.regularization.global)?;
        self.check_regularizers()?;
        let shapes = self.network.shapes(input, images.classes).map_err(|error| network(&error))?;
        self.check_memory(input, &shapes)?;
        self.check_batch_norm(&shapes, self.dataset.max_train_images.unwrap_or(usize::MAX))?;
        self.check_inspections(&shapes)?;
        let known: Vec<&str> =
            shapes.iter().flat_map(|layer| &layer.parameters).map(|parameter| &*parameter.name).collect();
        for (name, decay) in &self.regularization.per_parameter {
            // A hostile key may be long: the message quotes its beginning only.
            let shown: String = name.chars().take(64).collect();
            let field = format!("regularization.per_parameter[{shown:?}]");
            if !known.contains(&name.as_str()) {
                let message = format!("is not a parameter of the network: it has {}", known.join(", "));
                return Err(FieldError::new(&field, message));
            }
            self.check_decay(&field, *decay)?;
        }
        Ok(shapes)
    }

    fn check_memory(&self, input: Shape, shapes: &[LayerShape]) -> Result<(), FieldError> {
        let values = input.len() + shapes.iter().map(|shape| shape.output.len()).sum::<i64>();
        let most = Self::MAX_BATCH_VALUES * 4 / (values * self.precision.kind().elt_size_in_bytes() as i64);
        if i64::from(self.batch_size) <= most {
            return Ok(());
        }
        let message = format!(
            "is {}: an image takes {values} values in this network, so that at most {most} fit into memory",
            self.batch_size
        );
        Err(FieldError::new("batch_size", message))
    }

    fn check_stopping(&self) -> Result<(), FieldError> {
        let Some(rule) = self.early_stopping else { return Ok(()) };
        between("early_stopping.patience_evaluations", rule.patience_evaluations, 1, Self::MAX_EPOCHS)?;
        not_negative("early_stopping.min_delta", rule.min_delta)?;
        match self.validation.size {
            ValidationSize::Count(0) | ValidationSize::Fraction(0.0) => {
                let message = "has no validation images to look at: set validation.count above 0";
                Err(FieldError::new("early_stopping", message.to_owned()))
            }
            ValidationSize::Count(_) | ValidationSize::Fraction(_) => Ok(()),
        }
    }

    fn check_optimizer(&self) -> Result<(), FieldError> {
        match self.optimizer {
            OptimizerConfig::Sgd { learning_rate } => rate("optimizer.sgd.learning_rate", learning_rate),
            OptimizerConfig::Momentum { learning_rate, momentum, .. } => {
                rate("optimizer.momentum.learning_rate", learning_rate)?;
                below_one("optimizer.momentum.momentum", momentum)
            }
            OptimizerConfig::Adagrad { learning_rate, epsilon, initial_accumulator_value } => {
                rate("optimizer.adagrad.learning_rate", learning_rate)?;
                positive("optimizer.adagrad.epsilon", epsilon)?;
                not_negative("optimizer.adagrad.initial_accumulator_value", initial_accumulator_value)
            }
            OptimizerConfig::Adam { learning_rate, beta1, beta2, epsilon } => {
                rate("optimizer.adam.learning_rate", learning_rate)?;
                below_one("optimizer.adam.beta1", beta1)?;
                below_one("optimizer.adam.beta2", beta2)?;
                positive("optimizer.adam.epsilon", epsilon)
            }
        }
    }

    fn check_schedule(&self) -> Result<(), FieldError> {
        self.check_schedule_numbers()?;
        let (field, factor) = match self.schedule.shape {
            ScheduleShape::Constant => return Ok(()),
            ScheduleShape::Step { every_epochs, factor } => {
                ("step.factor", factor.powf(f64::from((self.epochs - 1) / every_epochs)))
            }
            ScheduleShape::Exponential { factor } => {
                ("exponential.factor", factor.powf(f64::from(self.epochs - 1)))
            }
            ScheduleShape::Cosine { final_factor } => ("cosine.final_factor", final_factor),
            ScheduleShape::OneCycle { initial_factor, final_factor, .. } => {
                match initial_factor > final_factor {
                    true => ("one_cycle.initial_factor", initial_factor),
                    false => ("one_cycle.final_factor", final_factor),
                }
            }
        };
        let most = Self::MAX_SCHEDULE_FACTOR;
        if factor <= most {
            return Ok(());
        }
        let message =
            format!("multiplies the learning rate with {factor:e} in the end: use at most {most:e}");
        Err(FieldError::new(format!("schedule.{field}"), message))
    }

    fn check_schedule_numbers(&self) -> Result<(), FieldError> {
        match self.schedule.shape {
            ScheduleShape::Constant => Ok(()),
            ScheduleShape::Step { every_epochs, factor } => {
                between("schedule.step.every_epochs", every_epochs, 1, Self::MAX_EPOCHS)?;
                positive("schedule.step.factor", factor)
            }
            ScheduleShape::Exponential { factor } => positive("schedule.exponential.factor", factor),
            ScheduleShape::Cosine { final_factor } => {
                not_negative("schedule.cosine.final_factor", final_factor)
            }
            ScheduleShape::OneCycle { rise, initial_factor, final_factor } => {
                below_one("schedule.one_cycle.rise", rise)?;
                positive("schedule.one_cycle.initial_factor", initial_factor)?;
                not_negative("schedule.one_cycle.final_factor", final_factor)
            }
        }
    }

    fn check_decay(&self, field: &str, decay: Decay) -> Result<(), FieldError> {
        not_negative(&format!("{field}.l1"), decay.l1)?;
        not_negative(&format!("{field}.l2"), decay.l2)
    }
}

fn network(error: &nn::Error) -> FieldError {
    match error {
        nn::Error::UnknownPreset(_) => FieldError::new("network.preset", format!("is unknown: {error}")),
        nn::Error::Layer { layer, .. } => {
            FieldError::new(format!("network.layers[{layer}]"), format!("does not fit: {error}"))
        }
        nn::Error::LayerCount { .. }
        | nn::Error::Output { .. }
        | nn::Error::TooLarge { .. }
        | nn::Error::Parameter { .. } => {
            FieldError::new("network.layers", format!("make no network: {error}"))
        }
    }
}

fn between(field: &str, value: u32, least: u32, most: u32) -> Result<(), FieldError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(FieldError::new(field, format!("is {value}: use {least} to {most}")))
}

/// Above 0 and finite; the comparison is false of NaN.
fn positive(field: &str, value: f64) -> Result<(), FieldError> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(FieldError::new(field, format!("is {value}: use a number above 0")))
}

/// Above 0 and at most [`TrainConfig::MAX_LEARNING_RATE`].
fn rate(field: &str, value: f64) -> Result<(), FieldError> {
    let most = TrainConfig::MAX_LEARNING_RATE;
    if value <= most {
        return positive(field, value);
    }
    Err(FieldError::new(field, format!("is {value}: use a number above 0, at most {most:e}")))
}

fn not_negative(field: &str, value: f64) -> Result<(), FieldError> {
    if value >= 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(FieldError::new(field, format!("is {value}: use 0 or a number above it")))
}

fn below_one(field: &str, value: f64) -> Result<(), FieldError> {
    if (0.0..1.0).contains(&value) {
        return Ok(());
    }
    Err(FieldError::new(field, format!("is {value}: use a number from 0 to below 1")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        nn::{LayerKind, NetworkConfig},
        train::EarlyStopping,
    };

    fn check(change: impl FnOnce(&mut TrainConfig), expected: &str) {
        let mut config = TrainConfig::default();
        change(&mut config);
        let message = config.check().unwrap_err().to_string();
        assert!(message.starts_with(expected), "{message}");
    }

    #[test]
    fn the_default_request_is_valid() {
        TrainConfig::default().check().unwrap();
    }

    #[test]
    fn a_number_out_of_range_is_rejected_by_its_field() {
        check(|config| config.epochs = 0, "epochs is 0: use 1 to 10000");
        check(|config| config.batch_size = 65_537, "batch_size is 65537: use 1 to 65536");
        check(|config| config.report_every_batches = 0, "report_every_batches is 0");
        check(|config| config.validation.every_epochs = 0, "validation.every_epochs is 0");
        check(|config| config.validation.size = ValidationSize::Fraction(1.0), "validation.fraction is 1");
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            check(|config| config.optimizer = OptimizerConfig::sgd(rate), "optimizer.sgd.learning_rate is");
        }
        let adam =
            |beta1, beta2, epsilon| OptimizerConfig::Adam { learning_rate: 0.1, beta1, beta2, epsilon };
        check(|config| config.optimizer = adam(1.0, 0.9, 1e-8), "optimizer.adam.beta1 is 1");
        check(|config| config.optimizer = adam(0.9, -0.1, 1e-8), "optimizer.adam.beta2 is -0.1");
        check(|config| config.optimizer = adam(0.9, 0.9, 0.0), "optimizer.adam.epsilon is 0");
        let schedule = |shape| move |config: &mut TrainConfig| config.schedule.shape = shape;
        let step = ScheduleShape::Step { every_epochs: 0, factor: 0.1 };
        check(schedule(step), "schedule.step.every_epochs is 0");
        check(
            schedule(ScheduleShape::Exponential { factor: f64::NAN }),
            "schedule.exponential.factor is NaN",
        );
        check(schedule(ScheduleShape::Cosine { final_factor: -1.0 }), "schedule.cosine.final_factor is -1");
        let cycle = ScheduleShape::OneCycle { rise: 1.0, initial_factor: 0.04, final_factor: 0.0 };
        check(schedule(cycle), "schedule.one_cycle.rise is 1");
        let stopping = |min_delta, count| {
            move |config: &mut TrainConfig| {
                config.early_stopping = Some(EarlyStopping { min_delta, ..EarlyStopping::default() });
                config.validation.size = ValidationSize::Count(count);
            }
        };
        check(stopping(-1.0, 1), "early_stopping.min_delta is -1");
        check(stopping(f64::NAN, 1), "early_stopping.min_delta is NaN");
        check(stopping(0.0, 0), "early_stopping has no validation images");
        check(|config| config.regularization.global.l2 = -1.0, "regularization.l2 is -1");
        check(|config| config.regularization.global.l1 = f64::NAN, "regularization.l1 is NaN");
    }

    #[test]
    fn a_schedule_never_raises_the_rate_beyond_a_finite_number() {
        let shape = |epochs, shape| {
            move |config: &mut TrainConfig| {
                (config.epochs, config.schedule.shape) = (epochs, shape);
            }
        };
        let growing = ScheduleShape::Exponential { factor: 2.0 };
        check(shape(10_000, growing), "schedule.exponential.factor multiplies the learning rate with inf");
        let step = ScheduleShape::Step { every_epochs: 1, factor: 1e4 };
        check(shape(3, step), "schedule.step.factor multiplies the learning rate with 1e8");
        let cosine = ScheduleShape::Cosine { final_factor: 1e300 };
        check(shape(1, cosine), "schedule.cosine.final_factor");
        let cycle = ScheduleShape::OneCycle { rise: 0.3, initial_factor: 1e300, final_factor: 0.0 };
        check(shape(1, cycle), "schedule.one_cycle.initial_factor");
        check(|config| config.optimizer = OptimizerConfig::sgd(1e31), "optimizer.sgd.learning_rate is 1");
        let mut config = TrainConfig::default();
        shape(10, growing)(&mut config);
        config.check().unwrap();
    }

    #[test]
    fn a_batch_that_memory_does_not_hold_is_rejected_with_the_largest_that_fits() {
        let expected =
            "batch_size is 50000: an image takes 45874 values in this network, so that at most 11703 fit";
        check(|config| config.batch_size = 50_000, expected);
        let config = TrainConfig { batch_size: 11_703, ..TrainConfig::default() };
        config.check().unwrap();
    }

    #[test]
    fn a_rule_for_an_unknown_parameter_names_the_known_ones() {
        let rule = |name: &str| {
            let name = name.to_owned();
            move |config: &mut TrainConfig| {
                config.regularization.per_parameter.insert(name, Decay::default());
            }
        };
        let expected = "regularization.per_parameter[\"fc.wait\"] is not a parameter of the network: it has conv1.weight";
        check(rule("fc.wait"), expected);
    }

    #[test]
    fn layers_that_do_not_fit_are_rejected_by_their_index() {
        let config = |kinds: Vec<LayerKind>| {
            let layers = kinds.into_iter().map(|kind| (None, kind)).collect();
            move |config: &mut TrainConfig| config.network = NetworkConfig::from_layers(layers)
        };
        let linear = || LayerKind::Linear(crate::nn::LinearConfig { out_features: 10 });
        check(config(vec![LayerKind::Relu, linear()]), "network.layers[1] does not fit: layer \"linear1\"");
        check(config(vec![]), "network.layers make no network: a network has 1 to 64 layers");
    }
}
