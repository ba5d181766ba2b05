//! From numbers to a network's input, and from tensors to plain numbers.

use tch::{Kind, Tensor};

use super::Error;
use crate::nn::{Network, Shape};

/// Returns an image of the network's size as a batch of one.
pub(super) fn image_tensor(network: &Network, values: &[f32]) -> Result<Tensor, Error> {
    let Shape::Map { height, width, .. } = network.input() else { unreachable!("images go into a network") };
    if values.len() as i64 != height * width {
        return Err(Error::ImageSize { actual: values.len(), expected: height * width });
    }
    let image = Tensor::from_slice(values).view([1, 1, height, width]);
    Ok(image.to_device(network.device()).to_kind(network.kind()))
}

/// Returns the share of zeros of each channel over the batch, as float64 [channels].
pub(super) fn zero_shares(output: &Tensor) -> Tensor {
    let others: Vec<i64> = (0..output.dim() as i64).filter(|axis| *axis != 1).collect();
    output.eq(0.0).to_kind(Kind::Double).mean_dim(others, false, Kind::Double)
}

/// Returns the shape of a tensor; [1] for a single number.
pub(super) fn shape(tensor: &Tensor) -> Vec<i64> {
    if tensor.dim() == 0 { vec![1] } else { tensor.size() }
}

/// Returns all values as numbers, row by row.
pub(super) fn values(tensor: &Tensor) -> Vec<f64> {
    let row = tensor.detach().to_kind(Kind::Double).contiguous().view(-1);
    Vec::try_from(row).expect("a row of numbers")
}

/// Returns the Euclidean norm, in float64.
pub(super) fn norm(tensor: &Tensor) -> f64 {
    together(values(tensor).into_iter())
}

/// Returns the root of the sum of squares: the norm of parts whose norms are these.
pub(super) fn together(numbers: impl Iterator<Item = f64>) -> f64 {
    numbers.map(|number| number * number).sum::<f64>().sqrt()
}
