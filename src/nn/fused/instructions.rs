//! The instructions that this processor has, found once: what runs a kernel with them.

#[cfg(test)]
use super::scalar::Scalar;
use super::{
    avx512::{Avx512, Avx512Bf16},
    simd::{Kernel, PairKernel, PairSimd, Simd},
};

/// The instructions for float32 that this processor has.
#[derive(Debug, Clone, Copy)]
pub(super) enum Instructions {
    Avx512(Avx512),
    #[cfg(test)]
    Scalar(Scalar),
}

/// The instructions for pairs of bfloat16 that this processor has.
#[derive(Debug, Clone, Copy)]
pub(super) enum PairInstructions {
    Avx512(Avx512Bf16),
    #[cfg(test)]
    Scalar(Scalar),
}

impl Instructions {
    /// Returns the processor's instructions, if it has those that the kernels need.
    pub fn detect() -> Option<Self> {
        Avx512::detect().map(Self::Avx512)
    }

    /// Returns the instructions for pairs of bfloat16, if the processor has them too.
    pub fn pairs(self) -> Option<PairInstructions> {
        match self {
            Self::Avx512(simd) => Avx512Bf16::detect(simd).map(PairInstructions::Avx512),
            #[cfg(test)]
            Self::Scalar(simd) => Some(PairInstructions::Scalar(simd)),
        }
    }

    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            Self::Avx512(simd) => simd.run(kernel),
            #[cfg(test)]
            Self::Scalar(simd) => Simd::run(simd, kernel),
        }
    }
}

impl PairInstructions {
    pub fn run<K: PairKernel>(self, kernel: K) -> K::Output {
        match self {
            Self::Avx512(simd) => simd.run(kernel),
            #[cfg(test)]
            Self::Scalar(simd) => PairSimd::run(simd, kernel),
        }
    }
}
