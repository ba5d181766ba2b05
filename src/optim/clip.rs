//! The clipping of gradients by their common norm. It does not use any optimiser: it comes before decay and step.

use tch::{Kind, Tensor};

use crate::nn::ParameterSet;

/// Computes g ← g·min(1, max/(‖g‖ + 1e-6)) over all gradients at once, as PyTorch's `clip_grad_norm_`
/// (Pascanu, Mikolov and Bengio 2013), without waiting for the device. Returns ‖g‖ as it was before, in float64,
/// since the square of a float32 beyond 1e19 is infinite.
pub fn clip_gradient_norm(gradients: &mut ParameterSet, max: f64) -> Tensor {
    let norm = gradients.flat().norm_scalaropt_dtype(2, Kind::Double);
    let factor = (&norm + 1e-6).reciprocal_().g_mul_scalar_(max).clamp_max_(1.0);
    let _ = gradients.flat_mut().g_mul_(&factor);
    norm
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::nn::ParameterShape;

    fn check(gradients: &[&[f64]], max: f64, expected: &[&[f64]]) {
        let shape = |(index, values): (usize, &&[f64])| ParameterShape {
            name: format!("w{index}"),
            dims: vec![values.len() as i64],
        };
        let shapes: Vec<_> = gradients.iter().enumerate().map(shape).collect();
        let mut set = ParameterSet::zeros(&shapes, Kind::Double, Device::Cpu);
        for (index, values) in gradients.iter().enumerate() {
            set.assign(index, &Tensor::from_slice(values));
        }
        let norm = clip_gradient_norm(&mut set, max).double_value(&[]);
        let square: f64 = gradients.iter().flat_map(|values| values.iter()).map(|value| value * value).sum();
        assert!((norm - square.sqrt()).abs() < 1e-12, "{norm}");
        for (index, expected) in expected.iter().enumerate() {
            let off = (set.view(index) - Tensor::from_slice(expected)).abs().max().double_value(&[]);
            assert!(off < 1e-12, "w{index} is {:?}", Vec::<f64>::try_from(set.view(index)));
        }
    }

    #[test]
    fn gradients_longer_than_the_limit_are_scaled_down_together() {
        let factor = 1.0 / (5.0 + 1e-6);
        check(&[&[3.0, 0.0], &[-4.0]], 1.0, &[&[3.0 * factor, 0.0], &[-4.0 * factor]]);
    }

    #[test]
    fn gradients_within_the_limit_stay_as_they_are() {
        check(&[&[3.0, 0.0], &[-4.0]], 5.1, &[&[3.0, 0.0], &[-4.0]]);
        check(&[&[0.0], &[0.0]], 0.1, &[&[0.0], &[0.0]]);
    }

    #[test]
    fn a_norm_at_the_limit_is_scaled_with_pytorchs_epsilon() {
        let factor = 5.0 / (5.0 + 1e-6);
        check(&[&[3.0], &[4.0]], 5.0, &[&[3.0 * factor], &[4.0 * factor]]);
    }
}
