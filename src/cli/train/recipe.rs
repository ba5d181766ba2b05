//! The flag that names a recipe.

use clap::ValueEnum;

use crate::pb::digitd::v1::{Recipe, TrainRequest};

/// A set of hyperparameters by name.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Training")]
pub struct RecipeArgs {
    /// A tested set of hyperparameters; other flags override it [default: five epochs of adam under a
    /// one-cycle schedule]
    #[arg(long, value_enum, value_name = "RECIPE")]
    recipe: Option<RecipeArg>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RecipeArg {
    /// The run of the tutorial: five epochs of adam at 0.01
    Tutorial,
    /// One epoch
    Fast,
    /// 20 epochs with augmentation and weight averaging; for --preset deep too
    Accurate,
}

impl RecipeArgs {
    pub fn apply(&self, request: &mut TrainRequest) {
        if let Some(recipe) = self.recipe {
            request.set_recipe(match recipe {
                RecipeArg::Tutorial => Recipe::Tutorial,
                RecipeArg::Fast => Recipe::Fast,
                RecipeArg::Accurate => Recipe::Accurate,
            });
        }
    }
}
