//! Named presets of a training request: what it leaves out is the recipe's, what it gives stands. All
//! numbers were chosen on validation images; README.md tells what they reach on test images.

use serde::{Deserialize, Serialize};

use super::TrainConfig;
use crate::{
    data::Augmentation,
    optim::{OptimizerConfig, Schedule, ScheduleShape, WeightAveraging},
};

/// A way to train that is known by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recipe {
    /// The tutorial's own run: five epochs of Adam at a learning rate of 0.01.
    Tutorial,
    /// One epoch of small steps, as good as one epoch can be.
    Fast,
    /// Many epochs of moved and turned images, the averaged weights published.
    Accurate,
}

impl Recipe {
    /// A request of this recipe that gives nothing else.
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

    /// Of how many images for training and validation together one is held out: the fewer, the more
    /// there is to learn from.
    pub fn validation_divisor(self) -> usize {
        match self {
            Self::Tutorial => 6,
            Self::Fast => 60,
            Self::Accurate => 12,
        }
    }
}

/// A fifth of the steps up, the rest down.
fn one_cycle(initial_factor: f64) -> Schedule {
    let shape = ScheduleShape::OneCycle { rise: 0.2, initial_factor, final_factor: 1e-3 };
    Schedule { shape, warmup_steps: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_is_a_request_that_makes_sense() {
        for recipe in [Recipe::Tutorial, Recipe::Fast, Recipe::Accurate] {
            recipe.config().check().unwrap();
            assert_eq!(recipe.config().recipe, Some(recipe));
        }
    }
}
