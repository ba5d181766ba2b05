//! `TrainRequest` → `TrainConfig` with every default filled in, and back with every field filled.

use super::{augmentation, inspect_at, network, optimizer, options::RunOptions, recipe, schedule, stopping};
use crate::{
    data::{DatasetInfo, Order},
    ids::{Alias, FieldError, VersionRef},
    nn::Precision,
    pb::digitd::v1,
    registry::Manifest,
    server::convert::shared::{
        dataset,
        enums::{ContractEnum, optional_to_wire},
        field::{ANY, count, int},
        reference,
    },
    train::{Loss, Recipe, TrainConfig, ValidTrainConfig},
};

/// Makes `initial` exact: it names `version` from here on, and the network of that version is the network of
/// the run unless the request gives one.
pub fn resolve_initial(request: &mut v1::TrainRequest, version: &Manifest) {
    let exact = VersionRef { model: version.model.clone(), version: version.version };
    request.initial = Some(reference::from_exact(&exact));
    request.network.get_or_insert_with(|| network::from_network(&version.network));
}

/// The run that is requested, on a data set with these `facts`. `initial` must be exact already. Errors name
/// the field that is not valid.
pub fn train_request(
    request: v1::TrainRequest,
    facts: DatasetInfo,
) -> Result<(ValidTrainConfig, RunOptions), FieldError> {
    let options = RunOptions::of(&request);
    let recipe = Recipe::optional("recipe", request.recipe)?;
    let (request, default) = (recipe::fill_in(request, recipe), recipe::defaults(recipe));
    let config = TrainConfig {
        model: reference::name("model", &request.model)?,
        recipe,
        dataset: dataset::train_dataset(request.dataset)?,
        network: network::network(request.network, facts.dims.classes)?,
        initial: request.initial.map(|given| reference::exact("initial", given)).transpose()?,
        epochs: count("epochs", request.epochs, 1..=TrainConfig::MAX_EPOCHS, default.epochs)?,
        batch_size: count(
            "batch_size",
            request.batch_size,
            1..=TrainConfig::MAX_BATCH_SIZE,
            default.batch_size,
        )?,
        order: match request.shuffle {
            None => default.order,
            Some(true) => Order::Shuffled,
            Some(false) => Order::File,
        },
        precision: Precision::parse("precision", request.precision)?,
        seed: count("seed", request.seed, 0..=ANY, 0)?.into(),
        schedule: match (&request.optimizer, request.schedule) {
            (None, None) => default.schedule,
            (_, given) => schedule::schedule(given)?,
        },
        optimizer: optimizer::optimizer(request.optimizer, default.optimizer),
        loss: Loss::parse("loss", request.loss)?,
        label_smoothing: request.label_smoothing.unwrap_or(default.label_smoothing),
        regularization: optimizer::regularization(request.regularization),
        clip_gradient_norm: request.clip_gradient_norm,
        weight_averaging: optimizer::weight_averaging(request.weight_averaging),
        augmentation: request.augmentation.map_or(default.augmentation, augmentation::augmentation),
        validation: dataset::validation(request.validation, recipe::validation(recipe, facts))?,
        report_every_batches: count(
            "report_every_batches",
            request.report_every_batches,
            1..=ANY,
            default.report_every_batches,
        )?,
        inspect_at: inspect_at::inspect_at(&request.inspect_at)?,
        checkpoint_every_epochs: count(
            "checkpoint_every_epochs",
            request.checkpoint_every_epochs,
            0..=ANY,
            default.checkpoint_every_epochs,
        )?,
        early_stopping: request.early_stopping.map(stopping::early_stopping).transpose()?,
        set_alias: alias(&request.set_alias)?,
    };
    Ok((config.validate(facts.dims)?, options))
}

/// The request that would start this run again, without the options of the call that did.
pub fn from_train_config(config: &TrainConfig) -> v1::TrainRequest {
    v1::TrainRequest {
        model: config.model.to_string(),
        recipe: optional_to_wire(config.recipe),
        dataset: Some(dataset::from_dataset(&config.dataset)),
        network: Some(network::from_network(&config.network)),
        initial: config.initial.as_ref().map(reference::from_exact),
        epochs: Some(int(config.epochs)),
        batch_size: Some(int(config.batch_size)),
        shuffle: Some(match config.order {
            Order::Shuffled => true,
            Order::File => false,
        }),
        precision: config.precision.to_wire(),
        seed: Some(int(config.seed)),
        optimizer: Some(optimizer::from_optimizer(config.optimizer)),
        schedule: Some(schedule::from_schedule(config.schedule)),
        loss: config.loss.to_wire(),
        regularization: Some(optimizer::from_regularization(&config.regularization)),
        augmentation: Some(augmentation::from_augmentation(&config.augmentation)),
        validation: Some(dataset::from_validation(config.validation)),
        report_every_batches: Some(int(config.report_every_batches)),
        inspect_at: config.inspect_at.iter().map(inspect_at::from_inspect_at).collect(),
        checkpoint_every_epochs: Some(int(config.checkpoint_every_epochs)),
        early_stopping: config.early_stopping.map(stopping::from_early_stopping),
        set_alias: config.set_alias.as_ref().map(Alias::to_string).unwrap_or_default(),
        resume_run_id: String::new(),
        cancel_on_disconnect: false,
        queue: false,
        validate_only: false,
        clip_gradient_norm: config.clip_gradient_norm,
        label_smoothing: Some(config.label_smoothing),
        weight_averaging: config.weight_averaging.map(optimizer::from_weight_averaging),
    }
}

/// The alias `latest` moves to every version that a run publishes anyway, so a request for it changes nothing.
fn alias(text: &str) -> Result<Option<Alias>, FieldError> {
    (!text.is_empty()).then(|| text.parse().map_err(FieldError::at("set_alias"))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        data::{Augmentation, DatasetSpec, ValidationSize},
        engine::WhenBusy,
        ids::Version,
        optim::{Decay, OptimizerConfig, Schedule, WeightAveraging},
        pb::digitd::v1::{layer::Kind, optimizer::Rule, validation::Size},
        server::convert::training::options::{OnDisconnect, RunMode},
        train::{EarlyStopping, InspectAt, Metric, ValidationConfig},
    };

    fn checked_request(request: v1::TrainRequest) -> Result<(TrainConfig, RunOptions), FieldError> {
        let (config, options) = train_request(request, DatasetInfo::MNIST)?;
        Ok((config.into_config(), options))
    }

    fn field(change: impl FnOnce(&mut v1::TrainRequest)) -> String {
        let mut request = v1::TrainRequest::default();
        change(&mut request);
        checked_request(request).unwrap_err().field
    }

    #[test]
    fn an_empty_request_is_the_default_config() {
        let (config, options) = checked_request(v1::TrainRequest::default()).unwrap();
        assert_eq!(config, TrainConfig::default());
        let mode = RunMode::Train;
        let plain = RunOptions { on_disconnect: OnDisconnect::Detach, when_busy: WhenBusy::Reject, mode };
        assert_eq!(options, plain);
    }

    #[test]
    fn a_recipe_fills_in_unset_fields_and_keeps_set_ones() {
        let of = |recipe: v1::Recipe| v1::TrainRequest { recipe: recipe.into(), ..Default::default() };
        let (config, _) = checked_request(of(v1::Recipe::Accurate)).unwrap();
        let size = ValidationSize::Count(5_000);
        let validation = ValidationConfig { size, every_epochs: 1 };
        assert_eq!(config, TrainConfig { validation, ..Recipe::Accurate.config() });
        let request = v1::TrainRequest {
            epochs: Some(2),
            augmentation: Some(augmentation::from_augmentation(&Augmentation::default())),
            weight_averaging: Some(v1::WeightAveraging { decay: Some(0.0) }),
            schedule: Some(schedule::from_schedule(Schedule::default())),
            ..of(v1::Recipe::Accurate)
        };
        let (config, _) = checked_request(request).unwrap();
        assert_eq!((config.epochs, config.augmentation.is_none()), (2, true));
        assert_eq!(config.weight_averaging, Some(WeightAveraging { decay: 0.0 }));
        assert_eq!(config.schedule.shape, crate::optim::ScheduleShape::Constant);
        assert_eq!(field(|request| request.recipe = 9), "recipe");
    }

    #[test]
    fn a_field_set_with_a_recipe_replaces_that_field_alone() {
        let adam = |learning_rate| {
            let rule = Rule::Adam(v1::Adam { learning_rate: Some(learning_rate), ..Default::default() });
            Some(v1::Optimizer { rule: Some(rule) })
        };
        let augmentation = Some(v1::Augmentation { rotation_degrees: Some(15.0), ..Default::default() });
        let with_fields = |recipe: v1::Recipe| v1::TrainRequest {
            recipe: recipe.into(),
            optimizer: adam(0.002),
            augmentation,
            ..Default::default()
        };
        for (named, recipe) in [(v1::Recipe::Accurate, Recipe::Accurate), (v1::Recipe::Fast, Recipe::Fast)] {
            let (found, _) = checked_request(with_fields(named)).unwrap();
            let defaults = recipe.config();
            let mut expected = TrainConfig { validation: found.validation, ..defaults.clone() };
            expected.augmentation.rotation_degrees = 15.0;
            if let OptimizerConfig::Adam { learning_rate, .. } = &mut expected.optimizer {
                *learning_rate = 0.002;
            }
            assert_eq!(found, expected);
        }
        let sgd = Rule::Sgd(v1::Sgd::default());
        let other = v1::TrainRequest {
            optimizer: Some(v1::Optimizer { rule: Some(sgd) }),
            ..with_fields(v1::Recipe::Fast)
        };
        let (found, _) = checked_request(other).unwrap();
        assert_eq!(found.optimizer, OptimizerConfig::sgd(0.01), "another rule has its own defaults");
        assert_eq!(found.schedule, Recipe::Fast.config().schedule);
    }

    #[test]
    fn a_resolved_request_describes_the_same_run() {
        let mut other = TrainConfig {
            model: "other".parse().unwrap(),
            dataset: DatasetSpec {
                name: "synthetic".parse().unwrap(),
                seed: Some(3),
                max_train_images: Some(500),
            },
            epochs: 2,
            initial: Some(VersionRef { model: "base".parse().unwrap(), version: Version::FIRST }),
            precision: Precision::Float64,
            batch_size: 10,
            order: Order::File,
            seed: 9,
            optimizer: OptimizerConfig::momentum(0.1),
            loss: Loss::MeanSquaredError,
            label_smoothing: 0.1,
            clip_gradient_norm: Some(2.5),
            weight_averaging: Some(WeightAveraging { decay: 0.99 }),
            augmentation: Augmentation { rotation_degrees: 10.0, ..Augmentation::default() },
            validation: ValidationConfig { size: ValidationSize::Fraction(0.5), every_epochs: 2 },
            report_every_batches: 7,
            inspect_at: vec![InspectAt { epoch: 2, batch: 3, shapes: false, contents: true }],
            checkpoint_every_epochs: 0,
            early_stopping: Some(EarlyStopping {
                metric: Metric::ValidationAccuracy,
                patience_evaluations: 7,
                min_delta: 0.25,
            }),
            set_alias: Some(Alias::production()),
            ..TrainConfig::default()
        };
        other.network.layers[7].name = "head".to_owned();
        other.regularization.per_parameter.insert("head.bias".to_owned(), Decay { l1: 0.1, l2: 0.2 });
        for config in [TrainConfig::default(), Recipe::Fast.config(), Recipe::Accurate.config(), other] {
            let request = from_train_config(&config);
            assert_eq!(checked_request(request).unwrap().0, config);
        }
    }

    #[test]
    fn numbers_out_of_range_are_named() {
        assert_eq!(field(|request| request.epochs = Some(0)), "epochs");
        assert_eq!(field(|request| request.epochs = Some(10_001)), "epochs");
        assert_eq!(field(|request| request.batch_size = Some(-1)), "batch_size");
        assert_eq!(field(|request| request.batch_size = Some(65_537)), "batch_size");
        assert_eq!(field(|request| request.seed = Some(-1)), "seed");
        assert_eq!(field(|request| request.report_every_batches = Some(0)), "report_every_batches");
        assert_eq!(field(|request| request.checkpoint_every_epochs = Some(-1)), "checkpoint_every_epochs");
        assert_eq!(field(|request| request.loss = 3), "loss");
        assert_eq!(field(|request| request.precision = 9), "precision");
    }

    #[test]
    fn terms_out_of_range_are_named_with_their_rule() {
        let rule = |rule| field(|request| request.optimizer = Some(v1::Optimizer { rule: Some(rule) }));
        let adam = v1::Adam { beta1: Some(1.0), ..v1::Adam::default() };
        assert_eq!(rule(Rule::Adam(adam)), "optimizer.adam.beta1");
        let sgd = v1::Sgd { learning_rate: Some(f64::NAN) };
        assert_eq!(rule(Rule::Sgd(sgd)), "optimizer.sgd.learning_rate");
        let half = v1::Validation { size: Some(Size::Fraction(f64::NAN)), every_epochs: None };
        assert_eq!(field(|request| request.validation = Some(half)), "validation.fraction");
        let rules = [("fc9.bias".to_owned(), v1::ParameterRegularization::default())].into();
        let unknown = v1::Regularization { per_parameter: rules, ..v1::Regularization::default() };
        let path = field(|request| request.regularization = Some(unknown));
        assert_eq!(path, "regularization.per_parameter[\"fc9.bias\"]");
    }

    #[test]
    fn layers_that_cannot_work_are_named_with_their_shapes() {
        let linear = Kind::Linear(v1::Linear { out_features: 10 });
        let layers = vec![v1::Layer { name: String::new(), kind: Some(linear) }];
        let network = Some(v1::Network { layers, ..v1::Network::default() });
        let error = checked_request(v1::TrainRequest { network, ..v1::TrainRequest::default() }).unwrap_err();
        assert_eq!(error.field, "network.layers[0]");
        assert!(error.message.contains("[N,1,28,28]"), "{error}");
    }

    #[test]
    fn names_of_the_wrong_form_are_named() {
        assert_eq!(field(|request| request.model = "../x".to_owned()), "model");
        assert_eq!(field(|request| request.set_alias = "7".to_owned()), "set_alias");
    }

    #[test]
    fn run_options_do_not_change_the_config_of_the_run() {
        let request = v1::TrainRequest {
            cancel_on_disconnect: true,
            queue: true,
            validate_only: true,
            ..v1::TrainRequest::default()
        };
        let (config, options) = checked_request(request).unwrap();
        assert_eq!(config, TrainConfig::default());
        let (on_disconnect, when_busy) = (OnDisconnect::Cancel, WhenBusy::Wait);
        assert_eq!(options, RunOptions { on_disconnect, when_busy, mode: RunMode::Validate });
    }
}
