//! The norms of one step. They are computed only at steps that are reported, so that the other batches
//! cost nothing, and stay on the device until the report reads them.

use tch::{Kind, Tensor};

use super::gradients::WeightNorms;
use crate::nn::ParameterSet;

/// The L2 norms of a step's gradients, parameters and changes, array by array.
#[derive(Debug)]
pub(in crate::train) struct StepNorms {
    /// float64 [arrays], as are `values` and `changes`.
    gradients: Tensor,
    values: Tensor,
    changes: Tensor,
    /// The parameters before the step.
    before: ParameterSet,
}

impl StepNorms {
    /// Measures the gradients of a batch's mean loss, before decay, clipping and the step change anything.
    pub fn before(gradients: &ParameterSet, parameters: &ParameterSet) -> Self {
        let _guard = tch::no_grad_guard();
        let gradients = norms(gradients);
        Self {
            changes: gradients.zeros_like(),
            values: norms(parameters),
            gradients,
            before: parameters.deep_copy(),
        }
    }

    /// Measures how far the step has moved the parameters.
    pub fn after(&mut self, parameters: &ParameterSet) {
        let _guard = tch::no_grad_guard();
        *self.before.flat_mut() -= parameters.flat();
        self.changes = norms(&self.before);
    }

    /// The L2 norm over all gradients. Waits for the device.
    pub fn gradient_norm(&self) -> f64 {
        self.gradients.square().sum(Kind::Double).sqrt().double_value(&[])
    }

    /// The norms of every weight array; biases and other vectors are left out. Waits for the device.
    pub fn weights(&self) -> Vec<WeightNorms> {
        let rows = Tensor::stack(&[&self.gradients, &self.values, &self.changes], 1).view(-1);
        let rows = Vec::<f64>::try_from(rows).expect("a row of norms");
        let weights =
            self.before.shapes().zip(rows.chunks_exact(3)).filter(|(shape, _)| shape.dims.len() > 1);
        weights
            .map(|(shape, norms)| WeightNorms {
                name: shape.name.clone(),
                gradient: norms[0],
                weight: norms[1],
                update: norms[2],
            })
            .collect()
    }
}

/// Computes the L2 norms in float64, since the square of a float32 beyond 1e19 is infinite.
fn norms(set: &ParameterSet) -> Tensor {
    let norms: Vec<Tensor> = set.iter().map(|(_, view)| view.norm_scalaropt_dtype(2, Kind::Double)).collect();
    Tensor::stack(&norms, 0)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::nn::ParameterShape;

    fn set(weight: [f32; 2], bias: [f32; 2]) -> ParameterSet {
        let shape = |name: &str, dims: &[i64]| ParameterShape { name: name.to_owned(), dims: dims.to_vec() };
        let mut set = ParameterSet::zeros(
            &[shape("fc.weight", &[1, 2]), shape("fc.bias", &[2])],
            Kind::Float,
            Device::Cpu,
        );
        set.assign(0, &Tensor::from_slice(&weight).view([1, 2]));
        set.assign(1, &Tensor::from_slice(&bias));
        set
    }

    #[test]
    fn the_norm_is_over_all_arrays_and_outlasts_large_gradients() {
        let parameters = set([1.0; 2], [1.0; 2]);
        let norm = |gradients| StepNorms::before(&gradients, &parameters).gradient_norm();
        assert!((norm(set([2.0, -3.0], [0.0, 6.0])) - 7.0).abs() < 1e-12);
        assert!((norm(set([0.0; 2], [3e30, 4e30])) / 5e30 - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_weight_is_measured_with_its_gradient_and_its_change() {
        let mut norms = StepNorms::before(&set([6.0, 8.0], [9.0; 2]), &set([3.0, -4.0], [0.0; 2]));
        norms.after(&set([3.0, -2.0], [7.0; 2]));
        let expected = WeightNorms { name: "fc.weight".to_owned(), gradient: 10.0, weight: 5.0, update: 2.0 };
        assert_eq!(norms.weights(), [expected]);
    }
}
