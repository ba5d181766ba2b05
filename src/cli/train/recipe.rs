//! The flag that names a recipe.

use clap::ValueEnum;

use crate::pb::digitd::v1::{Recipe, TrainRequest};

/// Numbers that go by a name.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Training")]
pub struct RecipeArgs {
    /// Numbers that were tried out together; other flags stand over them [default: five epochs of
    /// adam under a one-cycle schedule]
    #[arg(long, value_enum, value_name = "RECIPE")]
    recipe: Option<RecipeArg>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RecipeArg {
    /// The tutorial's own run: five epochs of adam at 0.01
    Tutorial,
    /// One epoch
    Fast,
    /// 20 epochs with augmentation and averaged weights; for --preset deep too
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
