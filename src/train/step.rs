//! One step: forward, backward, the optimiser. Nothing here waits for the device.

use tch::{Device, Kind, Tensor};

use super::{Inspection, Trainer, health::StepNorms};
use crate::{
    nn::{Mode, StepSeed},
    optim::{self, SchedulePosition},
};

impl Trainer {
    /// Performs one step; returns the batch's mean loss and its number of correct predictions, both
    /// before the step and both still on the device.
    pub(super) fn train_batch(&mut self, epoch: u32, indices: &Tensor) -> (Tensor, Tensor) {
        let batch = self.train.gather(indices, self.network.kind());
        self.stopwatch.lap(|timings| &mut timings.gathering);
        let at = StepSeed { seed: self.config.seed, epoch, step: self.step };
        let images = self.augmented(batch.images, at);
        self.inspection = self
            .inspect_at(epoch)
            .map(|asked| Inspection::new(asked, &self.network, &images, &batch.labels, at));
        let loss =
            |logits: &Tensor| self.config.loss.smoothed(logits, &batch.labels, self.config.label_smoothing);
        let (loss, logits) =
            self.network.forward_backward(&images, Mode::Train(at), loss, &mut self.gradients);
        self.norms =
            self.report_is_due().then(|| StepNorms::before(&self.gradients, self.network.parameters()));
        let max = self.config.clip_gradient_norm;
        self.unclipped = max.map(|max| optim::clip_gradient_norm(&mut self.gradients, max));
        let rate = self.learning_rate();
        self.optimizer.step(self.network.parameters_mut(), &mut self.gradients, rate);
        if let Some(norms) = &mut self.norms {
            norms.after(self.network.parameters());
        }
        self.average();
        self.stopwatch.lap(|timings| &mut timings.stepping);
        (loss, correct_predictions(&logits, &batch.labels))
    }

    fn augmented(&self, images: Tensor, at: StepSeed) -> Tensor {
        let Some(augmenter) = &self.augmenter else { return images };
        let (epoch, step) = (u64::from(at.epoch), u64::from(at.step));
        augmenter.apply(&images, at.seed, epoch, step)
    }

    /// Returns the learning rate of the current or the last step.
    pub(super) fn learning_rate(&self) -> f64 {
        let steps_per_epoch = self.batches_per_epoch();
        let total_steps = u64::from(steps_per_epoch) * u64::from(self.config.epochs);
        let at = SchedulePosition { step: self.step.saturating_sub(1), steps_per_epoch, total_steps };
        self.config.optimizer.learning_rate() * self.config.schedule.factor(at)
    }
}

/// Counts the rows of logits [n, classes] that are largest at their label, as a float64 scalar on
/// their device.
fn correct_predictions(logits: &Tensor, labels: &Tensor) -> Tensor {
    if logits.device() != Device::Cpu {
        return logits.argmax(-1, false).eq_tensor(labels).sum(Kind::Double);
    }
    // The same by this thread alone: a batch is too small to wake libtorch's others for it.
    let classes = logits.size()[1] as usize;
    let rows = Vec::<f64>::try_from(logits.to_kind(Kind::Double).reshape(-1)).expect("logits are numbers");
    let labels = Vec::<i64>::try_from(labels).expect("labels are a row of whole numbers");
    let is_right = |(row, label): (&[f64], &i64)| largest(row) == *label as usize;
    let right = rows.chunks(classes).zip(&labels).filter(|pair| is_right(*pair)).count();
    Tensor::from(right as f64)
}

/// Returns the index of the largest value, the first of equal ones; NaN counts as largest.
fn largest(values: &[f64]) -> usize {
    let mut best = 0;
    for (at, value) in values.iter().enumerate() {
        if *value > values[best] || (value.is_nan() && !values[best].is_nan()) {
            best = at;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correct_predictions_are_counted_as_libtorch_finds_the_largest() {
        let nan = f32::NAN;
        let rows = [[1.0, 3.0, 2.0], [3.0, 1.0, 3.0], [0.0, nan, 9.0], [nan, 1.0, nan], [-1.0, -2.0, -0.5]];
        let logits = Tensor::from_slice2(&rows);
        let found: Vec<i64> = rows.iter().map(|row| largest(&row.map(f64::from)) as i64).collect();
        assert_eq!(found, Vec::<i64>::try_from(logits.argmax(-1, false)).unwrap());
        let labels = Tensor::from_slice(&[1i64, 0, 1, 2, 0]);
        let right = correct_predictions(&logits, &labels);
        assert_eq!((right.kind(), right.double_value(&[])), (Kind::Double, 3.0));
    }
}
