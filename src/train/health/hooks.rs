//! Where a run checks its health: at its reports, after its epochs, and at a loss that is not finite.

use super::{
    curves::EpochStats,
    dead_channels::DeadChannelTracker,
    gradients::StepStats,
    monitor::ValidationResult,
    step_norms::StepNorms,
    warning::{RunPosition, Warning},
};
use crate::{
    eval,
    train::{BatchReport, EpochReport, Event, LossAndAccuracy, RunHooks, Trainer},
};

/// Images of a validation batch: large enough to keep the cores busy, small enough for caches.
const VALIDATION_BATCH: usize = 500;

impl Trainer {
    /// Measures the validation images, and keeps what `warn_of_epoch` judges.
    pub(in crate::train) fn measure(&mut self) -> LossAndAccuracy {
        let mut dead = DeadChannelTracker::default();
        let evaluation = eval::evaluate_with(
            self.published(),
            &self.validation,
            VALIDATION_BATCH,
            self.config.loss,
            &mut |layer, output| dead.observe(layer, output),
        );
        let measured = LossAndAccuracy { loss: evaluation.loss, accuracy: evaluation.accuracy() };
        let dead = dead.layers(self.published());
        self.validation_result = Some(ValidationResult { confusion: evaluation.confusion, dead });
        measured
    }

    /// After a batch that was reported.
    pub(in crate::train) fn warn_of_step(&mut self, report: &BatchReport, run: &mut dyn RunHooks) {
        let Some(norms) = &self.norms else { return };
        let step = StepStats {
            gradient_norm: norms.gradient_norm(),
            accuracy: report.accuracy,
            rate_share: self.health.rate_share(report.learning_rate),
            weights: norms.weights(),
        };
        let position = RunPosition { epoch: report.epoch, batch: Some(report.batch), step: report.step };
        report_warnings(self.health.step(position, &step), run);
    }

    /// After an epoch that was reported.
    pub(in crate::train) fn warn_of_epoch(&mut self, report: &EpochReport, run: &mut dyn RunHooks) {
        let rate_share = self.health.rate_share(self.learning_rate());
        let train = LossAndAccuracy { loss: report.train_loss, accuracy: report.train_accuracy };
        let now = EpochStats { epoch: report.epoch, train, validation: report.validation, rate_share };
        let position = RunPosition { epoch: report.epoch, batch: None, step: self.step };
        let (result, last) = (self.validation_result.take(), report.epoch == self.config.epochs);
        report_warnings(self.health.epoch(position, now, result.as_ref(), last), run);
    }

    /// After a loss that is no finite number, which may have come between two reports: then the gradients
    /// are examined as the step left them, with decay.
    pub(in crate::train) fn warn_of_explosion(&mut self, epoch: u32, batch: u32, run: &mut dyn RunHooks) {
        let norm = match (&self.norms, &self.unclipped) {
            (Some(norms), _) => norms.gradient_norm(),
            (None, Some(norm)) => norm.double_value(&[]),
            (None, None) => StepNorms::before(&self.gradients, self.network.parameters()).gradient_norm(),
        };
        let position = RunPosition { epoch, batch: Some(batch), step: self.step };
        report_warnings(self.health.exploded(position, norm), run);
    }
}

fn report_warnings(warnings: Vec<Warning>, run: &mut dyn RunHooks) {
    for warning in warnings {
        run.report(Event::Warning(Box::new(warning)));
    }
}
