//! What a run counts on the way: the sums of an epoch, and the pace since the last report.

use std::time::Instant;

use tch::{Kind, Tensor};

use super::Measured;
use crate::nn::Network;

/// What an epoch adds up on the device.
#[derive(Debug)]
pub(super) struct Totals {
    /// [2]: the sum of losses and the number of right answers, over images.
    sums: Tensor,
    images: i64,
}

/// The clock and the images since the last report.
pub(super) struct Pace {
    since: Instant,
    images: i64,
}

impl Totals {
    pub fn new(network: &Network) -> Self {
        Self { sums: Tensor::zeros([2], (Kind::Double, network.device())), images: 0 }
    }

    /// Those of an epoch that was stopped on the way.
    pub fn of(sums: Tensor, images: i64) -> Self {
        Self { sums, images }
    }

    pub fn sums(&self) -> &Tensor {
        &self.sums
    }

    pub fn images(&self) -> i64 {
        self.images
    }

    pub fn add(&mut self, mean_loss: &Tensor, correct: &Tensor, images: i64) {
        self.sums += Tensor::stack(&[mean_loss * images as f64, correct.shallow_clone()], 0);
        self.images += images;
    }

    /// Reads the sums from the device.
    pub fn means(&self) -> Measured {
        let mean = |index: i64| self.sums.double_value(&[index]) / self.images as f64;
        Measured { loss: mean(0), accuracy: mean(1) }
    }
}

impl Pace {
    pub fn start() -> Self {
        Self { since: Instant::now(), images: 0 }
    }

    pub fn add(&mut self, images: i64) {
        self.images += images;
    }

    /// Images per second since the last call.
    pub fn restart(&mut self) -> f64 {
        let rate = self.images as f64 / self.since.elapsed().as_secs_f64();
        *self = Self::start();
        rate
    }
}
