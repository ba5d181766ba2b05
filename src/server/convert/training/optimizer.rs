//! The optimizer, regularization and weight averaging of a request ⇄ those of a run.

use crate::{
    optim::{Decay, OptimizerConfig, Regularization, WeightAveraging},
    pb::digitd::v1::{self, optimizer::Rule},
};

/// The optimizer of a request with the defaults of its rule; Adam if the request names no rule, and
/// `left_out` if it has no optimizer.
pub fn optimizer(optimizer: Option<v1::Optimizer>, left_out: OptimizerConfig) -> OptimizerConfig {
    let Some(optimizer) = optimizer else { return left_out };
    match optimizer.rule.unwrap_or(Rule::Adam(v1::Adam::default())) {
        Rule::Sgd(sgd) => OptimizerConfig::Sgd {
            learning_rate: sgd.learning_rate.unwrap_or(OptimizerConfig::LEARNING_RATE),
        },
        Rule::Momentum(momentum) => OptimizerConfig::Momentum {
            learning_rate: momentum.learning_rate.unwrap_or(OptimizerConfig::LEARNING_RATE),
            momentum: momentum.momentum.unwrap_or(OptimizerConfig::MOMENTUM),
            nesterov: momentum.nesterov,
        },
        Rule::Adagrad(adagrad) => OptimizerConfig::Adagrad {
            learning_rate: adagrad.learning_rate.unwrap_or(OptimizerConfig::LEARNING_RATE),
            epsilon: adagrad.epsilon.unwrap_or(OptimizerConfig::ADAGRAD_EPSILON),
            initial_accumulator_value: adagrad
                .initial_accumulator_value
                .unwrap_or(OptimizerConfig::INITIAL_ACCUMULATOR_VALUE),
        },
        Rule::Adam(adam) => OptimizerConfig::Adam {
            learning_rate: adam.learning_rate.unwrap_or(OptimizerConfig::ADAM_LEARNING_RATE),
            beta1: adam.beta1.unwrap_or(OptimizerConfig::BETA1),
            beta2: adam.beta2.unwrap_or(OptimizerConfig::BETA2),
            epsilon: adam.epsilon.unwrap_or(OptimizerConfig::ADAM_EPSILON),
        },
    }
}

/// An optimizer with all its settings.
pub fn from_optimizer(config: OptimizerConfig) -> v1::Optimizer {
    let rule = match config {
        OptimizerConfig::Sgd { learning_rate } => Rule::Sgd(v1::Sgd { learning_rate: Some(learning_rate) }),
        OptimizerConfig::Momentum { learning_rate, momentum, nesterov } => Rule::Momentum(v1::Momentum {
            learning_rate: Some(learning_rate),
            momentum: Some(momentum),
            nesterov,
        }),
        OptimizerConfig::Adagrad { learning_rate, epsilon, initial_accumulator_value } => {
            Rule::Adagrad(v1::Adagrad {
                learning_rate: Some(learning_rate),
                epsilon: Some(epsilon),
                initial_accumulator_value: Some(initial_accumulator_value),
            })
        }
        OptimizerConfig::Adam { learning_rate, beta1, beta2, epsilon } => Rule::Adam(v1::Adam {
            learning_rate: Some(learning_rate),
            beta1: Some(beta1),
            beta2: Some(beta2),
            epsilon: Some(epsilon),
        }),
    };
    v1::Optimizer { rule: Some(rule) }
}

/// The regularization of a request. A term that is left out is 0.
pub fn regularization(requested: Option<v1::Regularization>) -> Regularization {
    let requested = requested.unwrap_or_default();
    let rules = requested.per_parameter.into_iter().map(|(name, rule)| (name, decay(rule.l1, rule.l2)));
    Regularization { global: decay(requested.l1, requested.l2), per_parameter: rules.collect() }
}

pub fn from_regularization(config: &Regularization) -> v1::Regularization {
    let per_parameter = config.per_parameter.iter().map(|(name, &Decay { l1, l2 })| {
        (name.clone(), v1::ParameterRegularization { l1: Some(l1), l2: Some(l2) })
    });
    v1::Regularization {
        l1: Some(config.global.l1),
        l2: Some(config.global.l2),
        per_parameter: per_parameter.collect(),
    }
}

/// The weight averaging of a request; `None` if it is left out.
pub fn weight_averaging(given: Option<v1::WeightAveraging>) -> Option<WeightAveraging> {
    given.map(|given| WeightAveraging { decay: given.decay.unwrap_or(WeightAveraging::DEFAULT_DECAY) })
}

pub fn from_weight_averaging(config: WeightAveraging) -> v1::WeightAveraging {
    v1::WeightAveraging { decay: Some(config.decay) }
}

fn decay(l1: Option<f64>, l2: Option<f64>) -> Decay {
    Decay { l1: l1.unwrap_or(0.0), l2: l2.unwrap_or(0.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_has_its_defaults() {
        let left_out = OptimizerConfig::adam(0.5);
        let of = |rule| optimizer(Some(v1::Optimizer { rule: Some(rule) }), left_out);
        assert_eq!(optimizer(None, left_out), left_out);
        assert_eq!(optimizer(Some(v1::Optimizer { rule: None }), left_out), OptimizerConfig::adam(0.001));
        assert_eq!(of(Rule::Adam(v1::Adam::default())), OptimizerConfig::adam(0.001));
        assert_eq!(of(Rule::Sgd(v1::Sgd::default())), OptimizerConfig::sgd(0.01));
        assert_eq!(of(Rule::Momentum(v1::Momentum::default())), OptimizerConfig::momentum(0.01));
        assert_eq!(of(Rule::Adagrad(v1::Adagrad::default())), OptimizerConfig::adagrad(0.01));
    }

    #[test]
    fn every_rule_survives_a_round_trip() {
        for config in [
            OptimizerConfig::sgd(0.5),
            OptimizerConfig::Momentum { learning_rate: 0.5, momentum: 0.8, nesterov: true },
            OptimizerConfig::Adagrad { learning_rate: 0.5, epsilon: 1e-3, initial_accumulator_value: 0.1 },
            OptimizerConfig::Adam { learning_rate: 0.5, beta1: 0.1, beta2: 0.2, epsilon: 1e-4 },
        ] {
            assert_eq!(optimizer(Some(from_optimizer(config)), OptimizerConfig::default()), config);
        }
    }

    #[test]
    fn averaging_is_off_by_default_and_has_a_default_decay() {
        assert_eq!(weight_averaging(None), None);
        let requested = weight_averaging(Some(v1::WeightAveraging::default()));
        assert_eq!(requested, Some(WeightAveraging { decay: 0.999 }));
        assert_eq!(weight_averaging(requested.map(from_weight_averaging)), requested);
    }

    #[test]
    fn a_rule_for_one_parameter_survives_a_round_trip_with_the_global_one() {
        let rule = v1::ParameterRegularization { l1: None, l2: Some(0.1) };
        let requested = v1::Regularization {
            l1: Some(0.2),
            l2: None,
            per_parameter: [("fc.weight".to_owned(), rule)].into(),
        };
        let config = regularization(Some(requested));
        assert_eq!(config.of("fc.weight"), Decay { l1: 0.0, l2: 0.1 });
        assert_eq!(config.of("fc.bias"), Decay { l1: 0.2, l2: 0.0 });
        assert_eq!(regularization(Some(from_regularization(&config))), config);
    }
}
