//! The learning-rate schedule of a request ⇄ that of a run.

use crate::{
    ids::FieldError,
    optim::{Schedule, ScheduleShape},
    pb::digitd::v1::{self, schedule::Shape},
    server::convert::shared::field::{ANY, count, int},
};

/// The schedule of a request with the defaults of its shape, or a constant one if the request has none.
pub fn schedule(requested: Option<v1::Schedule>) -> Result<Schedule, FieldError> {
    let requested = requested.unwrap_or_default();
    let shape = match requested.shape.unwrap_or(Shape::Constant(v1::ConstantSchedule {})) {
        Shape::Constant(v1::ConstantSchedule {}) => ScheduleShape::Constant,
        Shape::Step(step) => ScheduleShape::Step {
            every_epochs: count(
                "schedule.step.every_epochs",
                step.every_epochs,
                1..=ANY,
                ScheduleShape::EVERY_EPOCHS,
            )?,
            factor: step.factor.unwrap_or(ScheduleShape::STEP_FACTOR),
        },
        Shape::Exponential(exponential) => ScheduleShape::Exponential {
            factor: exponential.factor.unwrap_or(ScheduleShape::EXPONENTIAL_FACTOR),
        },
        Shape::Cosine(cosine) => ScheduleShape::Cosine {
            final_factor: cosine.final_factor.unwrap_or(ScheduleShape::COSINE_FINAL_FACTOR),
        },
        Shape::OneCycle(cycle) => ScheduleShape::OneCycle {
            rise: cycle.rise.unwrap_or(ScheduleShape::RISE),
            initial_factor: cycle.initial_factor.unwrap_or(ScheduleShape::INITIAL_FACTOR),
            final_factor: cycle.final_factor.unwrap_or(ScheduleShape::ONE_CYCLE_FINAL_FACTOR),
        },
    };
    let warmup_steps = count("schedule.warmup_steps", requested.warmup_steps, 0..=ANY, 0)?;
    Ok(Schedule { shape, warmup_steps })
}

/// A schedule with all its settings.
pub fn from_schedule(schedule: Schedule) -> v1::Schedule {
    let shape = match schedule.shape {
        ScheduleShape::Constant => Shape::Constant(v1::ConstantSchedule {}),
        ScheduleShape::Step { every_epochs, factor } => {
            Shape::Step(v1::StepSchedule { every_epochs: Some(int(every_epochs)), factor: Some(factor) })
        }
        ScheduleShape::Exponential { factor } => {
            Shape::Exponential(v1::ExponentialSchedule { factor: Some(factor) })
        }
        ScheduleShape::Cosine { final_factor } => {
            Shape::Cosine(v1::CosineSchedule { final_factor: Some(final_factor) })
        }
        ScheduleShape::OneCycle { rise, initial_factor, final_factor } => {
            Shape::OneCycle(v1::OneCycleSchedule {
                rise: Some(rise),
                initial_factor: Some(initial_factor),
                final_factor: Some(final_factor),
            })
        }
    };
    v1::Schedule { shape: Some(shape), warmup_steps: Some(int(schedule.warmup_steps)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_has_its_defaults_and_survives_a_round_trip() {
        for shape in [
            Shape::Constant(v1::ConstantSchedule {}),
            Shape::Step(v1::StepSchedule::default()),
            Shape::Exponential(v1::ExponentialSchedule::default()),
            Shape::Cosine(v1::CosineSchedule::default()),
            Shape::OneCycle(v1::OneCycleSchedule::default()),
        ] {
            let given = v1::Schedule { shape: Some(shape), warmup_steps: Some(7) };
            let resolved = schedule(Some(given)).unwrap();
            assert_eq!(resolved.warmup_steps, 7);
            assert_eq!(schedule(Some(from_schedule(resolved))), Ok(resolved));
        }
        assert_eq!(schedule(None), Ok(Schedule::default()));
    }

    #[test]
    fn counts_below_their_range_are_named() {
        let step = v1::StepSchedule { every_epochs: Some(0), factor: None };
        let given = v1::Schedule { shape: Some(Shape::Step(step)), warmup_steps: None };
        assert_eq!(schedule(Some(given)).unwrap_err().field, "schedule.step.every_epochs");
        let given = v1::Schedule { shape: None, warmup_steps: Some(-1) };
        assert_eq!(schedule(Some(given)).unwrap_err().field, "schedule.warmup_steps");
    }
}
