//! L1 and L2 decay, which are added to the gradient before the optimiser (coupled, as Paddle's L1Decay and
//! L2Decay; not AdamW's decoupled decay).

use tch::Tensor;

use super::{Decay, Regularization};
use crate::nn::ParameterSet;

/// The coefficients of every value, as one number or as an array like the flat buffer.
#[derive(Debug)]
pub(super) struct Coefficients {
    l1: Coefficient,
    l2: Coefficient,
}

#[derive(Debug)]
enum Coefficient {
    Zero,
    /// Every parameter has the same coefficient.
    One(f64),
    /// Every value has its own; the tensor is `[total]`, like the flat buffer.
    Each(Tensor),
}

impl Coefficients {
    pub(super) fn new(regularization: &Regularization, parameters: &ParameterSet) -> Self {
        let of = |part: fn(Decay) -> f64| Coefficient::new(regularization, parameters, part);
        Self { l1: of(|decay| decay.l1), l2: of(|decay| decay.l2) }
    }

    /// Computes g ← g + l1·sign(p) + l2·p over the flat buffers.
    pub(super) fn add_to(&self, gradient: &mut Tensor, parameters: &Tensor) {
        self.l1.add(gradient, || parameters.sign());
        self.l2.add(gradient, || parameters.shallow_clone());
    }
}

impl Coefficient {
    fn new(regularization: &Regularization, parameters: &ParameterSet, part: fn(Decay) -> f64) -> Self {
        let global = part(regularization.global);
        if parameters.shapes().all(|shape| part(regularization.of(&shape.name)) == global) {
            return if global == 0.0 { Self::Zero } else { Self::One(global) };
        }
        let mut each = parameters.zeros_like();
        let names: Vec<String> = parameters.shapes().map(|shape| shape.name.clone()).collect();
        for (index, name) in names.iter().enumerate() {
            let full = each.view(index).full_like(part(regularization.of(name)));
            each.assign(index, &full);
        }
        Self::Each(each.flat().shallow_clone())
    }

    fn add(&self, gradient: &mut Tensor, direction: impl FnOnce() -> Tensor) {
        let _ = match self {
            Self::Zero => return,
            Self::One(coefficient) => gradient.g_add_(&(direction() * *coefficient)),
            Self::Each(coefficients) => gradient.addcmul_(&direction(), coefficients),
        };
    }
}
