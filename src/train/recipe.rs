//! The names of the recipes. What each of them trains with stands in `recipe_config`.

use serde::{Deserialize, Serialize};

/// A named preset of a training request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recipe {
    /// The tutorial's run: five epochs of Adam at a learning rate of 0.01.
    Tutorial,
    /// One epoch of small batches, tuned for the accuracy after that epoch.
    Fast,
    /// Many epochs of augmented images; the averaged weights are published.
    Accurate,
}

impl Recipe {
    /// The divisor of the validation split: one image in this many, of those for training and
    /// validation together, is held out. The fewer are held out, the more there are to train on.
    pub fn validation_divisor(self) -> usize {
        match self {
            Self::Tutorial => 6,
            Self::Fast => 60,
            Self::Accurate => 12,
        }
    }
}
