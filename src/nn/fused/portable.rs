//! The fused kernels' stand-in for other processors: there are none, and libtorch computes every layer.

use tch::{Device, Kind, Tensor};

use super::{LayerConfig, LayerShape, NetworkConfig, ParameterSet};

/// Has no values: this processor has no fused kernels.
#[derive(Debug, Clone)]
pub(super) enum FusedBlocks {}

impl FusedBlocks {
    pub fn of(_: &NetworkConfig, _: &[LayerShape], _: Kind, _: Device) -> Option<Self> {
        None
    }

    pub fn layers(&self) -> usize {
        match *self {}
    }

    pub fn parameters(&self) -> usize {
        match *self {}
    }

    pub fn outputs(&self, _: &ParameterSet, _: &Tensor) -> Vec<Tensor> {
        match *self {}
    }

    pub fn forward_saving(&self, _: &ParameterSet, _: &Tensor) -> (Tensor, Self) {
        match *self {}
    }

    pub fn backward(&self, _: &ParameterSet, _: &Self, _: &Tensor, _: &mut ParameterSet) {
        match *self {}
    }
}

/// Has no values either.
#[derive(Debug)]
pub(super) enum FusedNetwork {}

impl FusedNetwork {
    pub fn of(front: &FusedBlocks, _: &[LayerConfig], _: &ParameterSet, _: bool) -> Option<Self> {
        match *front {}
    }

    pub fn logits<'a>(&'a mut self, _: &'a [f32]) -> &'a [f32] {
        match *self {}
    }
}
