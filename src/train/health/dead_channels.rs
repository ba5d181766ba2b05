//! Finds the channels of ReLUs that stay zero over a validation pass. The first batch leaves few
//! candidates, mostly none, and only these are examined in the other batches.

use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use super::validation::DeadChannels;
use crate::nn::Network;

/// The channels that have been zero so far, and the number of channels, for each ReLU by its index.
#[derive(Debug, Default)]
pub(in crate::train) struct DeadChannelTracker(BTreeMap<usize, (Vec<i64>, i64)>);

impl DeadChannelTracker {
    /// Adds the output of a ReLU for a batch, [N,C,H,W] or [N,C].
    pub fn observe(&mut self, layer: usize, output: &Tensor) {
        let width = output.size()[1];
        let (channels, _) = self.0.entry(layer).or_insert_with(|| ((0..width).collect(), width));
        if channels.is_empty() {
            return;
        }
        let candidates = match channels.len() as i64 == width {
            true => output.shallow_clone(),
            false => output.index_select(1, &Tensor::from_slice(channels).to_device(output.device())),
        };
        let others: Vec<i64> = (0..output.dim() as i64).filter(|axis| *axis != 1).collect();
        // NaN is not 0: a channel that gives it is ill, not dead.
        let zero = candidates.amax(others, false).eq(0.0).to_kind(Kind::Int64);
        let zero = Vec::<i64>::try_from(zero).expect("a row of flags");
        let mut zero = zero.iter();
        channels.retain(|_| zero.next() == Some(&1));
    }

    /// The layers that have such channels.
    pub fn layers(&self, network: &Network) -> Vec<DeadChannels> {
        let dead = self.0.iter().filter(|(_, (channels, _))| !channels.is_empty());
        let dead = dead.map(|(&layer, (channels, width))| DeadChannels {
            name: network.config().layers[layer].name.clone(),
            channels: channels.iter().map(|&channel| channel as u32).collect(),
            width: *width as u32,
        });
        dead.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        nn::Mode,
        train::{TrainConfig, testing},
    };

    #[test]
    fn a_channel_is_dead_until_one_image_activates_it() {
        let mut dead = DeadChannelTracker::default();
        let batch = |rows: [[f32; 4]; 2]| Tensor::from_slice(&rows.concat()).view([2, 4]);
        dead.observe(1, &batch([[0., 0., 1., 0.], [0., 0., 0., 0.]]));
        dead.observe(4, &batch([[1.; 4]; 2]));
        let network = testing::network(&TrainConfig::default());
        let layer = |channels| DeadChannels { name: "relu1".to_owned(), channels, width: 4 };
        assert_eq!(dead.layers(&network), [layer(vec![0, 1, 3])]);
        dead.observe(1, &batch([[0., 5., 0., 0.], [0., 0., 0., f32::NAN]]));
        assert_eq!(dead.layers(&network), [layer(vec![0])]);
    }

    #[test]
    fn maps_cover_every_pixel() {
        let mut dead = DeadChannelTracker::default();
        let mut output = Tensor::zeros([3, 2, 4, 4], (Kind::Float, tch::Device::Cpu));
        let _ = output.get(2).get(1).get(3).get(3).fill_(0.5);
        dead.observe(1, &output);
        output = output.zeros_like();
        dead.observe(1, &output);
        let network = testing::network(&TrainConfig::default());
        assert_eq!(dead.layers(&network)[0].channels, [0]);
    }

    #[test]
    fn a_network_exposes_its_relus_after_their_pools_with_unchanged_outputs() {
        let network = testing::network(&TrainConfig::default());
        let x = Tensor::ones([2, 1, 28, 28], (Kind::Float, tch::Device::Cpu));
        let mut seen = Vec::new();
        let logits = network.logits(&x, &mut |index, y| seen.push((index, y.size())));
        assert_eq!(seen, [(1, vec![2, 20, 14, 14]), (4, vec![2, 20, 7, 7])]);
        assert!(logits.allclose(&network.forward(&x, Mode::Evaluate), 1e-4, 1e-4, false));
    }
}
