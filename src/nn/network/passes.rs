//! The passes through a network that need no autograd graph of the whole: inference without gradients, and
//! the forward and backward pass of a training step.

use tch::{Kind, Tensor};

use super::Network;
use crate::nn::Mode;
use crate::nn::ParameterSet;
#[cfg(all(test, target_arch = "x86_64"))]
use crate::nn::fused::FusedBlocks;

impl Network {
    /// Computes the probabilities `[N,classes]` of images `[N,1,H,W]` in `[0,1]`, without gradients.
    pub fn predict(&self, images: &Tensor) -> Tensor {
        self.logits(images, &mut |_, _| ()).softmax(-1, None::<Kind>)
    }

    /// Computes the logits `[N,classes]` of images `[N,1,H,W]` in `[0,1]` in evaluation mode, without gradients,
    /// as fast as this machine can. `observe` gets each ReLU's index and output, after the max-pool if one
    /// follows: a channel is zero there where it is zero before pooling, except at pixels that no window covers.
    pub fn logits(&self, images: &Tensor, observe: &mut dyn FnMut(usize, &Tensor)) -> Tensor {
        debug_assert_eq!(images.size()[1..], self.input().with_batch(1)[1..]);
        let _guard = tch::no_grad_guard();
        let (mut first, mut x) = (0, images.shallow_clone());
        if let Some(fused) = &self.fused
            && self.inference_multiplication.is_native()
            && images.size()[0] > 0
        {
            for (block, output) in fused.outputs(&self.parameters, images).into_iter().enumerate() {
                observe(3 * block + 1, &output);
                x = output;
            }
            first = fused.layers();
        }
        self.forward_from(first, x, Mode::Evaluate, observe)
    }

    /// Returns the same network with these kernels for its first layers, or with none.
    #[cfg(all(test, target_arch = "x86_64"))]
    pub(in crate::nn) fn with_fused(self, fused: Option<FusedBlocks>) -> Self {
        Self { fused, ..self }
    }

    /// Runs the forward and backward pass of a training step. `loss` makes a scalar of the logits `[N,classes]`,
    /// whose gradients by all parameters are written into `gradients`. Returns loss and logits. In training
    /// mode batch normalisation updates its running statistics.
    pub fn forward_backward(
        &self,
        images: &Tensor,
        mode: Mode,
        loss: impl FnOnce(&Tensor) -> Tensor,
        gradients: &mut ParameterSet,
    ) -> (Tensor, Tensor) {
        debug_assert_eq!(images.size()[1..], self.input().with_batch(1)[1..]);
        let fused = self.fused.as_ref().filter(|_| self.training_multiplication.is_native());
        let (own, layers) = fused.map_or((0, 0), |fused| (fused.parameters(), fused.layers()));
        let (x, saved) = match fused {
            None => (images.shallow_clone(), None),
            Some(fused) => {
                let (output, saved) = fused.forward_saving(&self.parameters, images);
                (output.set_requires_grad(true), Some((fused, saved)))
            }
        };
        let logits = self.forward_from(layers, x.shallow_clone(), mode, &mut |_, _| ());
        let loss = loss(&logits);
        let mut leaves: Vec<&Tensor> = self.parameters.iter().map(|(_, view)| view).skip(own).collect();
        if saved.is_some() {
            leaves.push(&x);
        }
        let found = Tensor::run_backward(&[&loss], &leaves, false, false);
        for (index, gradient) in found[..leaves.len() - usize::from(saved.is_some())].iter().enumerate() {
            gradients.assign(own + index, gradient);
        }
        if let (Some((fused, saved)), Some(gradient)) = (saved, found.last()) {
            fused.backward(&self.parameters, &saved, gradient, gradients);
        }
        (loss.detach(), logits.detach())
    }
}
