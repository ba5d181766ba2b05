//! The number formats that a network is trained in, and multiplication in bfloat16.

use std::fmt;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// The number format of weights and calculations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    #[default]
    Float32,
    /// Everything is float64, from the pixels to the published weights.
    Float64,
    /// Convolutions and linear layers of training steps multiply in bfloat16; weights, loss, optimiser state
    /// and evaluation are float32.
    Bfloat16,
}

impl Precision {
    /// The kind of parameters, gradients and optimiser state, in memory and in files.
    pub fn kind(self) -> Kind {
        match self {
            Self::Float32 | Self::Bfloat16 => Kind::Float,
            Self::Float64 => Kind::Double,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::Bfloat16 => "bfloat16",
        })
    }
}

/// How a layer multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Multiplication {
    /// The layer multiplies in the parameters' own kind.
    Native,
    /// The layer multiplies with the machine's bfloat16 units.
    Bfloat16,
    /// The layer multiplies in float32 and rounds inputs and outputs to bfloat16, which gives the numbers of a
    /// machine with such units on one without. libtorch's own bfloat16 takes ten times as long as float32 there.
    Emulated,
}

impl Multiplication {
    pub fn new(precision: Precision, device: Device) -> Self {
        match precision {
            Precision::Float32 | Precision::Float64 => Self::Native,
            Precision::Bfloat16 if has_bfloat16_units(device) => Self::Bfloat16,
            Precision::Bfloat16 => Self::Emulated,
        }
    }

    /// Returns the same as `new`, but the parameters' own kind if the device has no units for bfloat16.
    pub fn for_inference(precision: Precision, device: Device) -> Self {
        match Self::new(precision, device) {
            Self::Bfloat16 => Self::Bfloat16,
            Self::Native | Self::Emulated => Self::Native,
        }
    }

    /// Whether the layer multiplies in the parameters' own kind.
    pub fn is_native(self) -> bool {
        self == Self::Native
    }

    /// Computes `product` of an input, a weight and a bias.
    pub fn of(
        self,
        operands: [&Tensor; 3],
        product: impl FnOnce(&Tensor, &Tensor, &Tensor) -> Tensor,
    ) -> Tensor {
        let [x, weight, bias] = operands;
        let rounded = |tensor: &Tensor| tensor.to_kind(Kind::BFloat16).to_kind(Kind::Float);
        match self {
            Self::Native => product(x, weight, bias),
            Self::Bfloat16 => {
                let [x, weight, bias] = operands.map(|operand| operand.to_kind(Kind::BFloat16));
                product(&x, &weight, &bias)
            }
            Self::Emulated => rounded(&product(&rounded(x), &rounded(weight), &rounded(bias))),
        }
    }
}

fn has_bfloat16_units(device: Device) -> bool {
    match device {
        Device::Cpu => cpu_has_bfloat16_units(),
        _ => true,
    }
}

#[cfg(target_arch = "x86_64")]
fn cpu_has_bfloat16_units() -> bool {
    std::arch::is_x86_feature_detected!("avx512bf16")
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu_has_bfloat16_units() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPU: (Kind, Device) = (Kind::Float, Device::Cpu);

    /// A convolution and the gradient of its weight.
    fn convolution(products: Multiplication) -> (Tensor, Tensor) {
        let number = |n: i64, shape: &[i64]| ((Tensor::arange(n, CPU) * 0.7).sin() * 0.3).view(shape);
        let x = number(2 * 4 * 36, &[2, 4, 6, 6]);
        let weight = number(5 * 4 * 9, &[5, 4, 3, 3]).set_requires_grad(true);
        let bias = number(5, &[5]);
        let y = products.of([&x, &weight, &bias], |x, w, b| x.conv2d(w, Some(b), [1; 2], [1; 2], [1; 2], 1));
        let y = y.to_kind(Kind::Float);
        let gradient = Tensor::run_backward(&[y.square().sum(Kind::Float)], &[&weight], false, false);
        (y.detach(), gradient[0].shallow_clone())
    }

    fn distance(a: &Tensor, b: &Tensor) -> f64 {
        ((a - b).abs().max() / b.abs().max()).double_value(&[])
    }

    #[test]
    fn rounded_products_are_those_of_bfloat16_units() {
        let native = convolution(Multiplication::Native);
        let bfloat16 = convolution(Multiplication::Bfloat16);
        let rounded = convolution(Multiplication::Emulated);
        assert_eq!(bfloat16.1.kind(), Kind::Float, "gradients are float32 as the weights are");
        for (native, bfloat16, rounded) in
            [(native.0, bfloat16.0, rounded.0), (native.1, bfloat16.1, rounded.1)]
        {
            // A rounding of 8 bits apart at most, and clearly not float32.
            assert!(distance(&rounded, &bfloat16) < 1.0 / 128.0);
            assert!(distance(&rounded, &native) > 1e-5 && distance(&rounded, &native) < 0.02);
        }
    }

    #[test]
    fn float32_and_float64_multiply_without_rounding() {
        for precision in [Precision::Float32, Precision::Float64] {
            assert_eq!(Multiplication::new(precision, Device::Cpu), Multiplication::Native);
        }
        assert_ne!(Multiplication::new(Precision::Bfloat16, Device::Cpu), Multiplication::Native);
    }
}
