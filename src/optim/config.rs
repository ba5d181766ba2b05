//! Optimisers and regularisation as data, with Paddle's defaults.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The rule that turns gradients into steps; the formulas stand with each rule's code.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum OptimizerConfig {
    Sgd { learning_rate: f64 },
    Momentum { learning_rate: f64, momentum: f64, nesterov: bool },
    Adagrad { learning_rate: f64, epsilon: f64, initial_accumulator_value: f64 },
    Adam { learning_rate: f64, beta1: f64, beta2: f64, epsilon: f64 },
}

/// What is added to the gradient before the optimiser sees it; biases included.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Regularization {
    /// The rule of every parameter that has none of its own.
    pub global: Decay,
    /// A parameter's own rule replaces the global one. Keys are full names, as in `fc.weight`.
    pub per_parameter: BTreeMap<String, Decay>,
}

/// g ← g + l1·sign(p) + l2·p, with sign(0) = 0 and no factor 2.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Decay {
    pub l1: f64,
    pub l2: f64,
}

impl OptimizerConfig {
    /// The default learning rate of every rule but Adam.
    pub const LEARNING_RATE: f64 = 0.01;
    /// The default μ of Momentum.
    pub const MOMENTUM: f64 = 0.9;
    /// The default ε of Adagrad.
    pub const ADAGRAD_EPSILON: f64 = 1e-6;
    /// The default at which Adagrad's sum of squares begins.
    pub const INITIAL_ACCUMULATOR_VALUE: f64 = 0.0;
    /// The default learning rate of Adam.
    pub const ADAM_LEARNING_RATE: f64 = 0.001;
    /// The default β₁ of Adam.
    pub const BETA1: f64 = 0.9;
    /// The default β₂ of Adam.
    pub const BETA2: f64 = 0.999;
    /// The default ε of Adam.
    pub const ADAM_EPSILON: f64 = 1e-8;

    pub fn sgd(learning_rate: f64) -> Self {
        Self::Sgd { learning_rate }
    }

    /// Momentum with its defaults, not Nesterov's.
    pub fn momentum(learning_rate: f64) -> Self {
        Self::Momentum { learning_rate, momentum: Self::MOMENTUM, nesterov: false }
    }

    /// Adagrad with its defaults.
    pub fn adagrad(learning_rate: f64) -> Self {
        let initial_accumulator_value = Self::INITIAL_ACCUMULATOR_VALUE;
        Self::Adagrad { learning_rate, epsilon: Self::ADAGRAD_EPSILON, initial_accumulator_value }
    }

    /// Adam with its defaults.
    pub fn adam(learning_rate: f64) -> Self {
        Self::Adam { learning_rate, beta1: Self::BETA1, beta2: Self::BETA2, epsilon: Self::ADAM_EPSILON }
    }

    pub fn learning_rate(&self) -> f64 {
        match *self {
            Self::Sgd { learning_rate }
            | Self::Momentum { learning_rate, .. }
            | Self::Adagrad { learning_rate, .. }
            | Self::Adam { learning_rate, .. } => learning_rate,
        }
    }
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self::adam(Self::ADAM_LEARNING_RATE)
    }
}

impl Regularization {
    /// The rule of one parameter.
    pub fn of(&self, parameter: &str) -> Decay {
        self.per_parameter.get(parameter).copied().unwrap_or(self.global)
    }
}
