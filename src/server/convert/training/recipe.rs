//! The settings that a recipe fills in if a request leaves them out.

use super::{augmentation, optimizer, overlay, schedule};
use crate::{
    data::{DatasetInfo, ValidationSize},
    pb::digitd::v1,
    train::{Recipe, TrainConfig},
};

/// The request with the recipe's numbers in every message field that it leaves out: a request that gives a
/// learning rate alone keeps the optimizer and the schedule of the recipe.
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

/// The settings of the fields that a request leaves out.
pub fn defaults(recipe: Option<Recipe>) -> TrainConfig {
    recipe.map_or_else(TrainConfig::default, Recipe::config)
}

/// How many images are held out if a request does not say.
pub fn validation(recipe: Option<Recipe>, facts: DatasetInfo) -> ValidationSize {
    facts.validation(recipe.map_or(DatasetInfo::VALIDATION_DIVISOR, Recipe::validation_divisor))
}
