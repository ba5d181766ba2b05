//! One step: forward, backward, the optimiser. Nothing here waits for the device.

use tch::Tensor;

use super::{Inspection, Trainer, health::Look};
use crate::{
    nn::{Mode, StepSeed},
    optim::Progress,
};

impl Trainer {
    /// One step: the batch's mean loss and its number of right answers, both before the step and
    /// both still on the device.
    pub(super) fn train_batch(&mut self, epoch: u32, indices: &Tensor) -> (Tensor, Tensor) {
        let batch = self.train.gather(indices, self.network.kind());
        let at = StepSeed { seed: self.config.seed, epoch, step: self.step };
        self.inspection = self
            .inspect_at(epoch)
            .map(|asked| Inspection::new(asked, &self.network, &batch.images, &batch.labels, at));
        let logits = self.network.forward(&batch.images, Mode::Train(at));
        let loss = self.config.loss.mean(&logits, &batch.labels);
        let leaves: Vec<&Tensor> = self.network.parameters().iter().map(|(_, view)| view).collect();
        let gradients = Tensor::run_backward(&[&loss], &leaves, false, false);
        for (index, gradient) in gradients.iter().enumerate() {
            self.gradients.assign(index, gradient);
        }
        self.look = self.report_is_due().then(|| Look::at(&self.gradients));
        let rate = self.learning_rate();
        self.optimizer.step(self.network.parameters_mut(), &mut self.gradients, rate);
        let correct = logits.detach().argmax(-1, false).eq_tensor(&batch.labels).sum(self.network.kind());
        (loss.detach(), correct)
    }

    /// Of the step that is under way or was the last.
    pub(super) fn learning_rate(&self) -> f64 {
        let steps_per_epoch = self.batches_per_epoch();
        let total_steps = u64::from(steps_per_epoch) * u64::from(self.config.epochs);
        let at = Progress { step: self.step.saturating_sub(1), steps_per_epoch, total_steps };
        self.config.optimizer.learning_rate() * self.config.schedule.factor(at)
    }
}
