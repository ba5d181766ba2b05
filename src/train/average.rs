//! The network that is validated and published where weights are averaged. Its formula is
//! `optim::WeightAveraging`'s; running statistics of batch normalisation are averaged alike, so
//! that they fit the weights.

use super::Trainer;
use crate::nn::Network;

impl Trainer {
    /// Brings the average up to the step that was just taken.
    pub(super) fn average(&mut self) {
        if let (Some(averaged), Some(averaging)) = (&mut self.averaged, self.config.weight_averaging) {
            averaged.move_towards(&self.network, averaging.share(self.step));
        }
    }

    /// Returns the network that is validated and published: the averaged one if there is one.
    pub fn published(&self) -> &Network {
        self.averaged.as_ref().unwrap_or(&self.network)
    }
}
