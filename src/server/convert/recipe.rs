//! `Recipe` ⇄ that of the train room, and what it fills in.

use super::{
    augmentation,
    field::{Invalid, choice},
    optimizer, overlay, schedule,
};
use crate::{
    data::{Facts, ValidationSize},
    pb::digitd::v1,
    train::{Recipe, TrainConfig},
};

/// The recipe of a request; none where it is left out.
pub fn recipe(value: i32) -> Result<Option<Recipe>, Invalid> {
    Ok(match choice("recipe", value)? {
        v1::Recipe::Unspecified => None,
        v1::Recipe::Tutorial => Some(Recipe::Tutorial),
        v1::Recipe::Fast => Some(Recipe::Fast),
        v1::Recipe::Accurate => Some(Recipe::Accurate),
    })
}

pub fn from_recipe(recipe: Option<Recipe>) -> v1::Recipe {
    match recipe {
        None => v1::Recipe::Unspecified,
        Some(Recipe::Tutorial) => v1::Recipe::Tutorial,
        Some(Recipe::Fast) => v1::Recipe::Fast,
        Some(Recipe::Accurate) => v1::Recipe::Accurate,
    }
}

/// The request with the recipe's own numbers in its messages where it gives no others: a learning rate
/// alone leaves the recipe's rule and schedule what they are.
pub fn fill_in(request: v1::TrainRequest, recipe: Option<Recipe>) -> v1::TrainRequest {
    let Some(config) = recipe.map(Recipe::config) else { return request };
    let base = v1::TrainRequest {
        optimizer: Some(optimizer::from_optimizer(config.optimizer)),
        schedule: Some(schedule::from_schedule(config.schedule)),
        augmentation: Some(augmentation::from_augmentation(&config.augmentation)),
        weight_averaging: config.weight_averaging.map(optimizer::from_weight_averaging),
        ..v1::TrainRequest::default()
    };
    overlay::overlaid(&base, &request)
}

/// What a request leaves out.
pub fn defaults(recipe: Option<Recipe>) -> TrainConfig {
    recipe.map_or_else(TrainConfig::default, Recipe::config)
}

/// How many images are held out where a request does not say.
pub fn validation(recipe: Option<Recipe>, facts: Facts) -> ValidationSize {
    facts.validation(recipe.map_or(Facts::VALIDATION_DIVISOR, Recipe::validation_divisor))
}
