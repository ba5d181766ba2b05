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
    pub fn sgd(learning_rate: f64) -> Self {
        Self::Sgd { learning_rate }
    }

    /// μ = 0.9, not Nesterov's.
    pub fn momentum(learning_rate: f64) -> Self {
        Self::Momentum { learning_rate, momentum: 0.9, nesterov: false }
    }

    /// ε = 1e-6, sum from 0.
    pub fn adagrad(learning_rate: f64) -> Self {
        Self::Adagrad { learning_rate, epsilon: 1e-6, initial_accumulator_value: 0.0 }
    }

    /// β₁ = 0.9, β₂ = 0.999, ε = 1e-8.
    pub fn adam(learning_rate: f64) -> Self {
        Self::Adam { learning_rate, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }
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
        Self::adam(0.001)
    }
}

impl Regularization {
    /// The rule of one parameter.
    pub fn of(&self, parameter: &str) -> Decay {
        self.per_parameter.get(parameter).copied().unwrap_or(self.global)
    }
}
