//! No stem: libtorch computes every layer on this machine.

use tch::{Device, Kind, Tensor};

use super::{LayerConfig, LayerShape, NetworkConfig, ParameterSet};

/// None of these is ever made.
#[derive(Debug, Clone)]
pub(super) enum Stem {}

impl Stem {
    pub fn of(_: &NetworkConfig, _: &[LayerShape], _: Kind, _: Device) -> Option<Self> {
        None
    }

    pub fn layers(&self) -> usize {
        match *self {}
    }

    pub fn parameters(&self) -> usize {
        match *self {}
    }

    pub fn answer(&self, _: &ParameterSet, _: &Tensor) -> Vec<Tensor> {
        match *self {}
    }

    pub fn train(&self, _: &ParameterSet, _: &Tensor) -> (Tensor, Self) {
        match *self {}
    }

    pub fn backward(&self, _: &ParameterSet, _: &Self, _: &Tensor, _: &mut ParameterSet) {
        match *self {}
    }
}

/// None of these is ever made either.
#[derive(Debug)]
pub(super) enum Whole {}

impl Whole {
    pub fn of(stem: &Stem, _: &[LayerConfig], _: &ParameterSet, _: bool) -> Option<Self> {
        match *stem {}
    }

    pub fn logits<'a>(&'a mut self, _: &'a [f32]) -> &'a [f32] {
        match *self {}
    }
}
