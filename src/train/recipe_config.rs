//! The presets of the recipes: values that a request leaves out are the recipe's. All of them were
//! chosen on validation images; README.md states what they reach on test images.

use super::{Recipe, TrainConfig};
use crate::{
    data::Augmentation,
    optim::{OptimizerConfig, Schedule, ScheduleShape, WeightAveraging},
};

impl Recipe {
    /// The request of this recipe, with nothing changed.
    pub fn config(self) -> TrainConfig {
        let recipe = Some(self);
        let default = TrainConfig { recipe, ..TrainConfig::default() };
        match self {
            Self::Tutorial => TrainConfig {
                optimizer: OptimizerConfig::adam(0.01),
                schedule: Schedule::default(),
                ..default
            },
            Self::Fast => TrainConfig {
                epochs: 1,
                batch_size: 8,
                optimizer: OptimizerConfig::Adam {
                    learning_rate: 0.004,
                    beta1: 0.9,
                    beta2: 0.99,
                    epsilon: 1e-8,
                },
                schedule: one_cycle(0.1),
                augmentation: Augmentation {
                    rotation_degrees: 5.0,
                    shift_pixels: 1.0,
                    scale: 0.05,
                    ..Augmentation::default()
                },
                ..default
            },
            Self::Accurate => TrainConfig {
                epochs: 20,
                schedule: one_cycle(0.04),
                weight_averaging: Some(WeightAveraging { decay: 0.999 }),
                augmentation: Augmentation {
                    rotation_degrees: 10.0,
                    shift_pixels: 1.5,
                    scale: 0.1,
                    shear_degrees: 5.0,
                    ..Augmentation::default()
                },
                ..default
            },
        }
    }
}

/// A one-cycle schedule: the rate rises for a fifth of the steps, then falls.
fn one_cycle(initial_factor: f64) -> Schedule {
    let shape = ScheduleShape::OneCycle { rise: 0.2, initial_factor, final_factor: 1e-3 };
    Schedule { shape, warmup_steps: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_is_a_valid_request() {
        for recipe in [Recipe::Tutorial, Recipe::Fast, Recipe::Accurate] {
            recipe.config().check().unwrap();
            assert_eq!(recipe.config().recipe, Some(recipe));
        }
    }
}
