//! One step: forward, backward, the optimiser. Nothing here waits for the device.

use tch::Tensor;

use super::{Inspection, Trainer, health::Look};
use crate::{
    data::{Random, Stream},
    nn::{Mode, StepSeed},
    optim::{self, Progress},
};

impl Trainer {
    /// One step: the batch's mean loss and its number of right answers, both before the step and
    /// both still on the device.
    pub(super) fn train_batch(&mut self, epoch: u32, indices: &Tensor) -> (Tensor, Tensor) {
        let batch = self.train.gather(indices, self.network.kind());
        let at = StepSeed { seed: self.config.seed, epoch, step: self.step };
        let images = self.augmented(batch.images, at);
        self.inspection = self
            .inspect_at(epoch)
            .map(|asked| Inspection::new(asked, &self.network, &images, &batch.labels, at));
        let loss =
            |logits: &Tensor| self.config.loss.smoothed(logits, &batch.labels, self.config.label_smoothing);
        let (loss, logits) = self.network.learn(&images, Mode::Train(at), loss, &mut self.gradients);
        self.look = self.report_is_due().then(|| Look::before(&self.gradients, self.network.parameters()));
        if let Some(max) = self.config.clip_gradient_norm {
            let _ = optim::clip_gradient_norm(&mut self.gradients, max);
        }
        let rate = self.learning_rate();
        self.optimizer.step(self.network.parameters_mut(), &mut self.gradients, rate);
        if let Some(look) = &mut self.look {
            look.after(self.network.parameters());
        }
        self.average();
        let correct = logits.argmax(-1, false).eq_tensor(&batch.labels).sum(self.network.kind());
        (loss, correct)
    }

    fn augmented(&self, images: Tensor, at: StepSeed) -> Tensor {
        let Some(augmenter) = &self.augmenter else { return images };
        let (epoch, step) = (u64::from(at.epoch), u64::from(at.step));
        augmenter.apply(&images, &mut Random::new(at.seed, Stream::Augmentation, epoch, step))
    }

    /// Of the step that is under way or was the last.
    pub(super) fn learning_rate(&self) -> f64 {
        let steps_per_epoch = self.batches_per_epoch();
        let total_steps = u64::from(steps_per_epoch) * u64::from(self.config.epochs);
        let at = Progress { step: self.step.saturating_sub(1), steps_per_epoch, total_steps };
        self.config.optimizer.learning_rate() * self.config.schedule.factor(at)
    }
}
