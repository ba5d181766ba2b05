//! The stand-in for the fused kernels on processors other than x86-64: libtorch computes every layer there.

use tch::{Device, Kind, Tensor};

use super::{LayerConfig, LayerShape, NetworkConfig, ParameterSet};

/// A type without values, since this processor has no fused kernels.
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

/// A type without values as well.
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
