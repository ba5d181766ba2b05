//! The two ways through a network that need no graph of the whole: answers without gradients, and a
//! training step's gradients without anything else.

use tch::{Kind, Tensor};

use super::{Mode, Network};
use crate::nn::ParameterSet;

impl Network {
    /// Images [N,1,H,W] in [0,1] to probabilities [N,classes], without gradients.
    pub fn predict(&self, images: &Tensor) -> Tensor {
        self.answer(images, &mut |_, _| ()).softmax(-1, None::<Kind>)
    }

    /// Images [N,1,H,W] in [0,1] to logits [N,classes] in evaluation, without gradients, as fast as this
    /// machine can. `see` gets each ReLU's index and output, behind its max-pool where one follows: a
    /// channel is zero there where it is zero in front of it, but for what no window holds.
    pub fn answer(&self, images: &Tensor, see: &mut dyn FnMut(usize, &Tensor)) -> Tensor {
        debug_assert_eq!(images.size()[1..], self.input().with_batch(1)[1..]);
        let _guard = tch::no_grad_guard();
        let (mut first, mut x) = (0, images.shallow_clone());
        if let Some(stem) = &self.stem
            && self.answers.are_own()
            && images.size()[0] > 0
        {
            for (block, output) in stem.answer(&self.parameters, images).into_iter().enumerate() {
                see(3 * block + 1, &output);
                x = output;
            }
            first = stem.layers();
        }
        self.forward_from(first, x, Mode::Evaluate, see)
    }

    /// A training pass forward and back: `loss` makes a scalar of the logits [N,classes], whose
    /// gradients by all parameters are written into `gradients`. Returns loss and logits. In training
    /// mode batch normalisation brings its running statistics up to the batch.
    pub fn learn(
        &self,
        images: &Tensor,
        mode: Mode,
        loss: impl FnOnce(&Tensor) -> Tensor,
        gradients: &mut ParameterSet,
    ) -> (Tensor, Tensor) {
        debug_assert_eq!(images.size()[1..], self.input().with_batch(1)[1..]);
        let stem = self.stem.as_ref().filter(|_| self.products.are_own());
        let (own, layers) = stem.map_or((0, 0), |stem| (stem.parameters(), stem.layers()));
        let (x, trace) = match stem {
            None => (images.shallow_clone(), None),
            Some(stem) => {
                let (output, trace) = stem.train(&self.parameters, images);
                (output.set_requires_grad(true), Some((stem, trace)))
            }
        };
        let logits = self.forward_from(layers, x.shallow_clone(), mode, &mut |_, _| ());
        let loss = loss(&logits);
        let mut leaves: Vec<&Tensor> = self.parameters.iter().map(|(_, view)| view).skip(own).collect();
        if trace.is_some() {
            leaves.push(&x);
        }
        let found = Tensor::run_backward(&[&loss], &leaves, false, false);
        for (index, gradient) in found[..leaves.len() - usize::from(trace.is_some())].iter().enumerate() {
            gradients.assign(own + index, gradient);
        }
        if let (Some((stem, trace)), Some(gradient)) = (trace, found.last()) {
            stem.backward(&self.parameters, &trace, gradient, gradients);
        }
        (loss.detach(), logits.detach())
    }
}
