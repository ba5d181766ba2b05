//! The four rules. In the formulas g is the gradient with regularisation added, p the parameter,
//! lr the learning rate, t the step counted from 1; all arithmetic is over the whole flat buffer.

use std::collections::BTreeMap;

use tch::Tensor;

use super::{OptimizerConfig, Regularization, decay::Coefficients};
use crate::nn::{self, ParameterSet};

/// A rule with its state, which has the layout of the parameters.
#[derive(Debug)]
pub struct Optimizer {
    config: OptimizerConfig,
    decay: Coefficients,
    /// The number of steps taken.
    step: u64,
    state: Vec<(&'static str, ParameterSet)>,
}

impl Optimizer {
    /// Makes the state as it is before the first step.
    pub fn new(config: OptimizerConfig, regularization: &Regularization, parameters: &ParameterSet) -> Self {
        let zeros = || parameters.zeros_like();
        let state = match config {
            OptimizerConfig::Sgd { .. } => vec![],
            OptimizerConfig::Momentum { .. } => vec![("velocity", zeros())],
            OptimizerConfig::Adagrad { initial_accumulator_value, .. } => {
                let mut moment = zeros();
                let _ = moment.flat_mut().fill_(initial_accumulator_value);
                vec![("moment", moment)]
            }
            OptimizerConfig::Adam { .. } => vec![("moment1", zeros()), ("moment2", zeros())],
        };
        Self { config, decay: Coefficients::new(regularization, parameters), step: 0, state }
    }

    /// Takes one step: adds regularisation to `gradients`, then changes `parameters`.
    pub fn step(&mut self, parameters: &mut ParameterSet, gradients: &mut ParameterSet, learning_rate: f64) {
        let _guard = tch::no_grad_guard();
        self.step += 1;
        self.decay.add_to(gradients.flat_mut(), parameters.flat());
        let (p, g) = (parameters.flat_mut(), gradients.flat());
        let mut state = self.state.iter_mut().map(|(_, set)| set.flat_mut());
        let mut slot = || state.next().expect("the rule made its state in `new`");
        match self.config {
            OptimizerConfig::Sgd { .. } => *p -= g * learning_rate,
            OptimizerConfig::Momentum { momentum, nesterov, .. } => {
                momentum_step(p, g, slot(), MomentumTerms { learning_rate, momentum, nesterov });
            }
            OptimizerConfig::Adagrad { epsilon, .. } => adagrad_step(p, g, slot(), learning_rate, epsilon),
            OptimizerConfig::Adam { beta1, beta2, epsilon, .. } => {
                let (m, v) = (slot(), slot());
                // m ← β₁m + (1−β₁)g; v ← β₂v + (1−β₂)g²
                let _ = m.lerp_(g, 1.0 - beta1);
                let _ = v.lerp_(&g.square(), 1.0 - beta2);
                // p ← p − lr·√(1−β₂ᵗ)/(1−β₁ᵗ) · m/(√v + ε·√(1−β₂ᵗ))
                let t = self.step as f64;
                let root = (1.0 - beta2.powf(t)).sqrt();
                let rate = learning_rate * root / (1.0 - beta1.powf(t));
                let denominator = v.sqrt().g_add_scalar_(epsilon * root);
                let _ = p.addcdiv_(&(&*m * -rate), &denominator);
            }
        }
    }

    /// The number of steps taken.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// The names of the state slots and their arrays.
    pub fn state(&self) -> impl Iterator<Item = (&'static str, &ParameterSet)> {
        self.state.iter().map(|(name, set)| (*name, set))
    }

    /// Restores saved state: the number of steps taken, and for each slot its arrays by parameter name.
    pub fn load_state(
        &mut self,
        steps: u64,
        mut saved: impl FnMut(&str) -> BTreeMap<String, Tensor>,
    ) -> Result<(), nn::Error> {
        for (name, set) in &mut self.state {
            set.load(&saved(name))?;
        }
        self.step = steps;
        Ok(())
    }
}

struct MomentumTerms {
    learning_rate: f64,
    momentum: f64,
    nesterov: bool,
}

/// Computes v ← μ·v + g; p ← p − lr·v. Nesterov's is p ← p − lr·(g + μ·v) with the new v.
fn momentum_step(p: &mut Tensor, g: &Tensor, v: &mut Tensor, terms: MomentumTerms) {
    let _ = v.g_mul_scalar_(terms.momentum).g_add_(g);
    if terms.nesterov {
        *p -= (g + &*v * terms.momentum) * terms.learning_rate;
    } else {
        *p -= &*v * terms.learning_rate;
    }
}

/// Computes m ← m + g²; p ← p − lr·g/(√m + ε).
fn adagrad_step(p: &mut Tensor, g: &Tensor, m: &mut Tensor, learning_rate: f64, epsilon: f64) {
    let _ = m.addcmul_(g, g);
    let denominator = m.sqrt().g_add_scalar_(epsilon);
    let _ = p.addcdiv_(&(g * -learning_rate), &denominator);
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;
    use crate::{nn::ParameterShape, optim::Decay};

    fn set(values: &[f64]) -> ParameterSet {
        let shape = ParameterShape { name: "w".to_owned(), dims: vec![values.len() as i64] };
        let mut set = ParameterSet::zeros(&[shape], Kind::Double, Device::Cpu);
        set.assign(0, &Tensor::from_slice(values));
        set
    }

    fn values(set: &ParameterSet) -> Vec<f64> {
        Vec::try_from(set.view(0)).unwrap()
    }

    fn l2(l2: f64) -> Regularization {
        Regularization { global: Decay { l1: 0.0, l2 }, ..Regularization::default() }
    }

    fn check_step(config: OptimizerConfig, p: &[f64], g: &[f64], expected: &[f64]) {
        check_regularized(config, &Regularization::default(), p, g, expected);
    }

    fn check_regularized(
        config: OptimizerConfig,
        regularization: &Regularization,
        p: &[f64],
        g: &[f64],
        expected: &[f64],
    ) {
        let (mut parameters, mut gradients) = (set(p), set(g));
        let mut optimizer = Optimizer::new(config, regularization, &parameters);
        optimizer.step(&mut parameters, &mut gradients, config.learning_rate());
        for (found, expected) in values(&parameters).iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
        }
    }

    #[test]
    fn a_first_step_is_the_one_computed_by_hand() {
        check_step(OptimizerConfig::sgd(0.01), &[1.0], &[0.5], &[0.995]);
        check_step(OptimizerConfig::momentum(0.01), &[1.0], &[0.5], &[0.995]);
        let nesterov = OptimizerConfig::Momentum { learning_rate: 0.01, momentum: 0.9, nesterov: true };
        check_step(nesterov, &[1.0], &[0.5], &[1.0 - 0.01 * 0.95]);
        check_step(OptimizerConfig::adagrad(0.01), &[1.0], &[0.5], &[1.0 - 0.01 * 0.5 / (0.5 + 1e-6)]);
        check_step(OptimizerConfig::adam(0.01), &[1.0], &[0.5], &[1.0 - 0.01 * 0.5 / (0.5 + 1e-8)]);
    }

    #[test]
    fn decay_is_added_to_the_gradient_without_a_factor_of_two() {
        check_regularized(OptimizerConfig::sgd(1.0), &l2(0.1), &[2.0], &[0.0], &[1.8]);
        let l1 = Regularization { global: Decay { l1: 0.1, l2: 0.0 }, ..Regularization::default() };
        check_regularized(OptimizerConfig::sgd(1.0), &l1, &[2.0, -2.0, 0.0], &[0.0; 3], &[1.9, -1.9, 0.0]);
    }

    #[test]
    fn a_rule_for_one_parameter_replaces_the_global_one() {
        let only_w = |decay| Regularization { per_parameter: [("w".to_owned(), decay)].into(), ..l2(0.1) };
        check_regularized(OptimizerConfig::sgd(1.0), &only_w(Decay::default()), &[2.0], &[0.0], &[2.0]);
        check_regularized(
            OptimizerConfig::sgd(1.0),
            &only_w(Decay { l1: 0.5, l2: 0.0 }),
            &[2.0],
            &[0.0],
            &[1.5],
        );
    }

    /// Paddle's own values of w after each of six steps with learning rate 0.01.
    #[test]
    fn six_steps_of_every_rule_are_paddles() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/paddle/optimiser_steps.safetensors");
        let golden: BTreeMap<String, Tensor> = Tensor::read_safetensors(path).unwrap().into_iter().collect();
        // Paddle keeps momentum and Adagrad's epsilon in float32 even in a float64 run.
        let momentum =
            OptimizerConfig::Momentum { learning_rate: 0.01, momentum: f64::from(0.9f32), nesterov: false };
        let adagrad = OptimizerConfig::Adagrad {
            learning_rate: 0.01,
            epsilon: f64::from(1e-6f32),
            initial_accumulator_value: 0.0,
        };
        for (case, config, coefficient) in [
            ("sgd", OptimizerConfig::sgd(0.01), 0.0),
            ("momentum", momentum, 0.0),
            ("adagrad", adagrad, 0.0),
            ("adam", OptimizerConfig::adam(0.01), 0.0),
            ("sgd_l2", OptimizerConfig::sgd(0.01), 0.1),
            ("adam_l2", OptimizerConfig::adam(0.01), 0.1),
        ] {
            let rows = |name: &str| golden[name].to_kind(Kind::Double);
            let mut parameters = set(&Vec::<f64>::try_from(rows("w0")).unwrap());
            let mut optimizer = Optimizer::new(config, &l2(coefficient), &parameters);
            for step in 0..6 {
                let mut gradients = set(&Vec::<f64>::try_from(rows("grads").get(step)).unwrap());
                optimizer.step(&mut parameters, &mut gradients, 0.01);
                let expected = rows(&format!("f64.{case}")).get(step);
                let distance = (parameters.view(0) - expected).abs().max().double_value(&[]);
                assert!(distance < 1e-9, "{case}, step {}: off by {distance}", step + 1);
            }
        }
    }

    #[test]
    fn state_saved_and_restored_gives_the_same_next_step() {
        for config in [
            OptimizerConfig::sgd(0.1),
            OptimizerConfig::momentum(0.1),
            OptimizerConfig::adagrad(0.1),
            OptimizerConfig::adam(0.1),
        ] {
            let mut parameters = set(&[1.0, -2.0]);
            let mut optimizer = Optimizer::new(config, &l2(0.0), &parameters);
            optimizer.step(&mut parameters, &mut set(&[0.5, 0.25]), 0.1);
            let mut copy = Optimizer::new(config, &l2(0.0), &parameters);
            let mut saved: BTreeMap<_, BTreeMap<_, _>> =
                optimizer.state().map(|(slot, set)| (slot, set.export().into_iter().collect())).collect();
            copy.load_state(optimizer.steps(), |slot| saved.remove(slot).unwrap()).unwrap();
            let mut resumed = parameters.deep_copy();
            optimizer.step(&mut parameters, &mut set(&[0.1, 0.2]), 0.1);
            copy.step(&mut resumed, &mut set(&[0.1, 0.2]), 0.1);
            assert_eq!(parameters.flat(), resumed.flat(), "{config:?}");
        }
    }
}
