//! The norms of one step. Taken at report points alone, so that the other batches pay nothing, and
//! left on the device until the report reads them.

use tch::{Kind, Tensor};

use crate::nn::ParameterSet;

/// What a step was like.
#[derive(Debug)]
pub(in crate::train) struct Look {
    /// float64 [arrays]: the L2 norm of each array's gradient.
    gradients: Tensor,
}

impl Look {
    /// At the gradients of a batch's mean loss, before decay and clipping change them.
    pub fn at(gradients: &ParameterSet) -> Self {
        Self { gradients: norms(gradients) }
    }

    /// The L2 norm over all gradients. Waits for the device.
    pub fn gradient_norm(&self) -> f64 {
        self.gradients.square().sum(Kind::Double).sqrt().double_value(&[])
    }
}

/// In float64, since the square of a float32 beyond 1e19 is infinite.
fn norms(set: &ParameterSet) -> Tensor {
    let norms: Vec<Tensor> = set.iter().map(|(_, view)| view.norm_scalaropt_dtype(2, Kind::Double)).collect();
    Tensor::stack(&norms, 0)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::nn::ParameterShape;

    #[test]
    fn the_norm_is_over_all_arrays_and_outlasts_large_gradients() {
        let shape = |name: &str| ParameterShape { name: name.to_owned(), dims: vec![2] };
        let mut gradients = ParameterSet::zeros(&[shape("a"), shape("b")], Kind::Float, Device::Cpu);
        gradients.assign(0, &Tensor::from_slice(&[2f32, -3.0]));
        gradients.assign(1, &Tensor::from_slice(&[0f32, 6.0]));
        assert!((Look::at(&gradients).gradient_norm() - 7.0).abs() < 1e-12);
        gradients.assign(1, &Tensor::from_slice(&[3e30f32, 4e30]));
        assert!((Look::at(&gradients).gradient_norm() / 5e30 - 1.0).abs() < 1e-6);
    }
}
