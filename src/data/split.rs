//! Which images are for training, for validation and for testing. Says how many and which; reads
//! and draws nothing.

use std::{fmt, ops::Range, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Error, Random, Stream};
use crate::ids::FieldError;

/// One of the three parts of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    Train,
    Validation,
    Test,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        })
    }
}

impl FromStr for Split {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "train" => Ok(Self::Train),
            "validation" => Ok(Self::Validation),
            "test" => Ok(Self::Test),
            _ => Err(Error::UnknownSplit(text.chars().take(64).collect())),
        }
    }
}

/// The size of the validation split.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValidationSize {
    Count(usize),
    /// A share in `[0, 1)`, rounded to the nearest image.
    Fraction(f64),
}

impl Default for ValidationSize {
    /// MNIST's usual 50 000 / 10 000.
    fn default() -> Self {
        Self::Count(10_000)
    }
}

/// The split of `total` images: `train` and `validation` are ranges of the order that a seeded
/// shuffle or the file gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SplitRanges {
    pub train: Range<usize>,
    pub validation: Range<usize>,
}

impl SplitRanges {
    /// The last images are for validation, the first `max_train_images` of the rest for training.
    /// Errors if no training images remain.
    pub fn new(
        total: usize,
        validation: ValidationSize,
        max_train_images: Option<usize>,
    ) -> Result<Self, Error> {
        let held_out = match validation {
            ValidationSize::Count(count) => count,
            ValidationSize::Fraction(share) if (0.0..1.0).contains(&share) => {
                (share * total as f64).round() as usize
            }
            ValidationSize::Fraction(share) => {
                return Err(invalid(
                    "validation.fraction",
                    format!("is {share}: use a share from 0 to below 1"),
                ));
            }
        };
        if held_out >= total {
            return Err(invalid(
                "validation",
                format!("takes {held_out} of {total} images and leaves none to train on: ask for fewer"),
            ));
        }
        if max_train_images == Some(0) {
            return Err(invalid("max_train_images", "is 0: ask for at least one image".to_owned()));
        }
        let rest = total - held_out;
        Ok(Self { train: 0..max_train_images.map_or(rest, |most| rest.min(most)), validation: rest..total })
    }
}

/// The order in which `total` images are split: as in the file, or shuffled by the seed.
pub(super) fn dealing_order(total: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..total).collect();
    Random::new(seed, Stream::Split, 0, 0).shuffle(&mut order);
    order
}

fn invalid(field: &'static str, message: String) -> Error {
    Error::InvalidSize(FieldError::new(field, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(validation: ValidationSize, most: Option<usize>) -> Result<SplitRanges, String> {
        SplitRanges::new(60_000, validation, most).map_err(|error| error.to_string())
    }

    #[test]
    fn mnist_is_split_as_in_the_tutorial() {
        let parts = plan(ValidationSize::default(), None).unwrap();
        assert_eq!(parts, SplitRanges { train: 0..50_000, validation: 50_000..60_000 });
    }

    #[test]
    fn an_image_limit_shortens_training_and_not_validation() {
        let parts = plan(ValidationSize::Fraction(0.25), Some(100)).unwrap();
        assert_eq!(parts, SplitRanges { train: 0..100, validation: 45_000..60_000 });
        assert_eq!(plan(ValidationSize::Count(0), Some(usize::MAX)).unwrap().train, 0..60_000);
    }

    #[test]
    fn a_split_without_training_images_is_rejected() {
        for (validation, most, field) in [
            (ValidationSize::Count(60_000), None, "validation takes"),
            (ValidationSize::Count(usize::MAX), None, "validation takes"),
            (ValidationSize::Fraction(0.999_999), None, "validation takes"),
            (ValidationSize::Fraction(1.0), None, "validation.fraction is 1"),
            (ValidationSize::Fraction(-0.1), None, "validation.fraction is -0.1"),
            (ValidationSize::Fraction(f64::NAN), None, "validation.fraction is NaN"),
            (ValidationSize::Count(0), Some(0), "max_train_images is 0"),
        ] {
            let message = plan(validation, most).unwrap_err();
            assert!(message.starts_with(field), "{message}");
        }
    }

    #[test]
    fn the_split_order_is_a_permutation_fixed_by_the_seed() {
        let order = dealing_order(1000, 5);
        assert_eq!(order, dealing_order(1000, 5));
        assert_ne!(order, dealing_order(1000, 6));
        let mut sorted = order;
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..1000));
    }

    #[test]
    fn a_split_parses_from_its_printed_form() {
        for split in [Split::Train, Split::Validation, Split::Test] {
            assert_eq!(split.to_string().parse::<Split>().unwrap(), split);
            assert_eq!(serde_json::to_string(&split).unwrap(), format!("\"{split}\""));
        }
        assert!("Test".parse::<Split>().is_err());
    }
}
