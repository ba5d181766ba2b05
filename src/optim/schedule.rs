//! Learning-rate schedules: the factor of the optimiser's learning rate at each step, a pure function of the
//! step.

use serde::{Deserialize, Serialize};

/// How the learning rate changes along a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    pub shape: ScheduleShape,
    /// The number of steps over which the rate first rises linearly to the shape's own: the rate of step t of
    /// n, counted from 0, is multiplied by (t + 1)/n. There is no warm-up if it is 0.
    pub warmup_steps: u32,
}

/// The factor along a run. t is the step and T the number of steps, e the epoch, all counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "shape", rename_all = "snake_case")]
pub enum ScheduleShape {
    Constant,
    /// factor^⌊e/every_epochs⌋, as PyTorch's `StepLR`.
    Step {
        every_epochs: u32,
        factor: f64,
    },
    /// factor^e, as PyTorch's `ExponentialLR`.
    Exponential {
        factor: f64,
    },
    /// last + (1 − last)·(1 + cos(π·t/T))/2 (Loshchilov and Hutter 2017, without restarts), as
    /// PyTorch's `CosineAnnealingLR` with a step a batch.
    Cosine {
        final_factor: f64,
    },
    /// From initial_factor up to 1 over the first `rise` of the steps, then down to final_factor,
    /// both along half a cosine (Smith and Topin 2018), as PyTorch's `OneCycleLR`.
    OneCycle {
        rise: f64,
        initial_factor: f64,
        final_factor: f64,
    },
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchedulePosition {
    /// The number of steps taken.
    pub step: u32,
    pub steps_per_epoch: u32,
    /// The number of steps of the whole run.
    pub total_steps: u64,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { shape: ScheduleShape::Constant, warmup_steps: 0 }
    }
}

impl Schedule {
    /// The one-cycle schedule with PyTorch's defaults for `OneCycleLR`.
    pub fn one_cycle() -> Self {
        let shape = ScheduleShape::OneCycle {
            rise: ScheduleShape::RISE,
            initial_factor: ScheduleShape::INITIAL_FACTOR,
            final_factor: ScheduleShape::ONE_CYCLE_FINAL_FACTOR,
        };
        Self { shape, warmup_steps: 0 }
    }

    /// The factor of the next step's learning rate.
    pub fn factor(&self, at: SchedulePosition) -> f64 {
        let warmup = match at.step < self.warmup_steps {
            true => f64::from(at.step + 1) / f64::from(self.warmup_steps),
            false => 1.0,
        };
        warmup * self.shape.factor(at)
    }
}

impl ScheduleShape {
    /// The default number of epochs between two steps down.
    pub const EVERY_EPOCHS: u32 = 1;
    /// The default factor of a step down.
    pub const STEP_FACTOR: f64 = 0.1;
    /// The default factor of each epoch in the exponential shape.
    pub const EXPONENTIAL_FACTOR: f64 = 0.9;
    /// The default factor at the end of the cosine.
    pub const COSINE_FINAL_FACTOR: f64 = 0.0;
    /// The default share of the steps in which one cycle rises.
    pub const RISE: f64 = 0.3;
    /// The default factor at the beginning of one cycle.
    pub const INITIAL_FACTOR: f64 = 0.04;
    /// The default factor at the end of one cycle.
    pub const ONE_CYCLE_FINAL_FACTOR: f64 = 4e-6;

    fn factor(self, at: SchedulePosition) -> f64 {
        let epoch = at.step / at.steps_per_epoch.max(1);
        let (step, total) = (f64::from(at.step), at.total_steps.max(1) as f64);
        match self {
            Self::Constant => 1.0,
            Self::Step { every_epochs, factor } => factor.powf(f64::from(epoch / every_epochs.max(1))),
            Self::Exponential { factor } => factor.powf(f64::from(epoch)),
            Self::Cosine { final_factor } => half_cosine(1.0, final_factor, step / total),
            Self::OneCycle { rise, initial_factor, final_factor } => {
                // PyTorch's corners: the peak at step rise·T − 1, the end at the last step.
                let peak = rise * total - 1.0;
                let last = total - 1.0;
                match step <= peak {
                    true => half_cosine(initial_factor, 1.0, ratio(step, peak)),
                    false => half_cosine(1.0, final_factor, ratio(step - peak, last - peak)),
                }
            }
        }
    }
}

/// Half a cosine from `start` at a share of 0 to `end` at 1.
fn half_cosine(start: f64, end: f64, share: f64) -> f64 {
    end + (start - end) / 2.0 * (1.0 + (std::f64::consts::PI * share).cos())
}

/// Computes `part / whole`, or 1 if there is no whole: a phase without length is over at once.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (part / whole).min(1.0) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run of ten steps, two an epoch.
    fn check(schedule: Schedule, expected: &[f64]) {
        for (step, expected) in (0..).zip(expected) {
            let at = SchedulePosition { step, steps_per_epoch: 2, total_steps: 10 };
            let found = schedule.factor(at);
            assert!((found - expected).abs() < 1e-11, "{schedule:?}, step {step}: {found} is not {expected}");
        }
    }

    fn plain(shape: ScheduleShape) -> Schedule {
        Schedule { shape, warmup_steps: 0 }
    }

    #[test]
    fn step_and_exponential_follow_the_epochs() {
        check(
            plain(ScheduleShape::Step { every_epochs: 2, factor: 0.1 }),
            &[1., 1., 1., 1., 0.1, 0.1, 0.1, 0.1, 0.01, 0.01],
        );
        check(plain(ScheduleShape::Exponential { factor: 0.5 }), &[1., 1., 0.5, 0.5, 0.25, 0.25, 0.125]);
    }

    #[test]
    fn cosine_falls_along_half_a_cosine() {
        let quarter = (1.0 + (std::f64::consts::PI * 0.1).cos()) / 2.0;
        let schedule = plain(ScheduleShape::Cosine { final_factor: 0.0 });
        check(schedule, &[1.0, quarter]);
        let half = SchedulePosition { step: 5, steps_per_epoch: 2, total_steps: 10 };
        assert!((schedule.factor(half) - 0.5).abs() < 1e-12);
        let raised = plain(ScheduleShape::Cosine { final_factor: 0.2 });
        assert!((raised.factor(half) - 0.6).abs() < 1e-12);
    }

    /// `torch.optim.lr_scheduler.OneCycleLR(max_lr=1, total_steps=10)` of PyTorch 2.11.
    #[test]
    fn one_cycle_is_pytorchs() {
        let schedule = Schedule::one_cycle();
        let falling =
            [0.950484632013, 0.811745653950, 0.611262021936, 0.388741978064, 0.188258346050, 0.049519367987];
        check(schedule, &[&[0.04, 0.52, 1.0], &falling[..], &[4e-6]].concat());
    }

    #[test]
    fn warm_up_rises_linearly_to_the_shape() {
        let schedule = Schedule { warmup_steps: 4, ..Schedule::default() };
        check(schedule, &[0.25, 0.5, 0.75, 1.0, 1.0]);
    }

    #[test]
    fn a_run_of_one_step_has_a_finite_rate() {
        for shape in [
            ScheduleShape::Cosine { final_factor: 0.0 },
            ScheduleShape::OneCycle { rise: 0.3, initial_factor: 0.04, final_factor: 0.0 },
            ScheduleShape::OneCycle { rise: 1.0, initial_factor: 0.04, final_factor: 0.0 },
        ] {
            let at = SchedulePosition { step: 0, steps_per_epoch: 1, total_steps: 1 };
            assert!(plain(shape).factor(at).is_finite());
        }
    }
}
