//! Where a run asks after its health: at its reports, after its epochs, at a bad end.

use super::{DeadChannelTracker, EpochFigures, Place, StepFigures, StepNorms, ValidationAnswers, Warning};
use crate::{
    eval,
    train::{BatchReport, EpochReport, Event, Measured, RunHooks, Trainer},
};

/// Images of a validation batch: large enough to keep the cores busy, small enough for caches.
const VALIDATION_BATCH: usize = 500;

impl Trainer {
    /// Measures the validation images, and keeps what `warn_of_epoch` judges.
    pub(in crate::train) fn measure(&mut self) -> Measured {
        let mut silent = DeadChannelTracker::default();
        let evaluation = eval::evaluate_with(
            self.published(),
            &self.validation,
            VALIDATION_BATCH,
            self.config.loss,
            &mut |layer, output| silent.observe(layer, output),
        );
        let measured = Measured { loss: evaluation.loss, accuracy: evaluation.accuracy() };
        let silent = silent.layers(self.published());
        self.answers = Some(ValidationAnswers { confusion: evaluation.confusion, silent });
        measured
    }

    /// After a batch that was reported.
    pub(in crate::train) fn warn_of_step(&mut self, report: &BatchReport, run: &mut dyn RunHooks) {
        let Some(norms) = &self.norms else { return };
        let step = StepFigures {
            gradient_norm: norms.gradient_norm(),
            accuracy: report.accuracy,
            rate_share: self.health.rate_share(report.learning_rate),
            weights: norms.weights(),
        };
        let place = Place { epoch: report.epoch, batch: Some(report.batch), step: report.step };
        tell(self.health.step(place, &step), run);
    }

    /// After an epoch that was reported.
    pub(in crate::train) fn warn_of_epoch(&mut self, report: &EpochReport, run: &mut dyn RunHooks) {
        let rate_share = self.health.rate_share(self.learning_rate());
        let train = Measured { loss: report.train_loss, accuracy: report.train_accuracy };
        let now = EpochFigures { epoch: report.epoch, train, validation: report.validation, rate_share };
        let place = Place { epoch: report.epoch, batch: None, step: self.step };
        let (answers, last) = (self.answers.take(), report.epoch == self.config.epochs);
        tell(self.health.epoch(place, now, answers.as_ref(), last), run);
    }

    /// After a loss that is no finite number, which may have come between two reports: then the gradients
    /// are looked at as the step left them, with decay.
    pub(in crate::train) fn warn_of_explosion(&mut self, epoch: u32, batch: u32, run: &mut dyn RunHooks) {
        let norm = match (&self.norms, &self.unclipped) {
            (Some(norms), _) => norms.gradient_norm(),
            (None, Some(norm)) => norm.double_value(&[]),
            (None, None) => StepNorms::before(&self.gradients, self.network.parameters()).gradient_norm(),
        };
        let place = Place { epoch, batch: Some(batch), step: self.step };
        tell(self.health.exploded(place, norm), run);
    }
}

fn tell(warnings: Vec<Warning>, run: &mut dyn RunHooks) {
    for warning in warnings {
        run.report(Event::Warning(Box::new(warning)));
    }
}
