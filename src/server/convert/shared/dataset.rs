//! Data sets and validation sizes of requests ⇄ those of the data room.

use super::field::{ANY, count, int};
use crate::{
    data::{DatasetSpec, ValidationSize, catalog},
    ids::{DatasetName, FieldError},
    pb::digitd::v1::{self, validation::Size},
    train::{TrainConfig, ValidationConfig},
};

/// The largest number of images of a data set that one analysis reads.
pub const MAX_IMAGES: u32 = 60_000;

/// The data set to train on, or `mnist` if the request names none.
pub fn train_dataset(requested: Option<v1::Dataset>) -> Result<DatasetSpec, FieldError> {
    let mut requested = requested.unwrap_or_default();
    if requested.name.is_empty() {
        requested.name = catalog::MNIST.to_owned();
    }
    named("dataset", requested)
}

/// The data set at `path`. `None` if it is left out, which means the data set that the version was trained
/// on; the other fields of the message are then rejected.
pub fn dataset(path: &str, requested: Option<v1::Dataset>) -> Result<Option<DatasetSpec>, FieldError> {
    match requested {
        Some(requested) if !requested.name.is_empty() => named(path, requested).map(Some),
        None => Ok(None),
        Some(v1::Dataset { seed: None, max_train_images: None, .. }) => Ok(None),
        Some(_) => Err(FieldError::new(
            format!("{path}.name"),
            "is missing: name the data set that seed and max_train_images belong to",
        )),
    }
}

pub fn from_dataset(spec: &DatasetSpec) -> v1::Dataset {
    v1::Dataset {
        name: spec.name.to_string(),
        seed: spec.seed.map(int),
        max_train_images: spec.max_train_images.map(int),
    }
}

/// The validation of a run. `default` images are held out if the request does not say how many.
pub fn validation(
    requested: Option<v1::Validation>,
    default: ValidationSize,
) -> Result<ValidationConfig, FieldError> {
    let v1::Validation { size, every_epochs } = requested.unwrap_or_default();
    let size = match size {
        None => default,
        Some(Size::Count(images)) => {
            // 32 bits fit into a usize on every machine that libtorch runs on.
            ValidationSize::Count(count("validation.count", Some(images), 0..=ANY, 0)? as usize)
        }
        Some(Size::Fraction(share)) => ValidationSize::Fraction(share),
    };
    let every_epochs = count("validation.every_epochs", every_epochs, 1..=TrainConfig::MAX_EPOCHS, 1)?;
    Ok(ValidationConfig { size, every_epochs })
}

pub fn from_validation(config: ValidationConfig) -> v1::Validation {
    let size = match config.size {
        ValidationSize::Count(images) => Size::Count(int(images)),
        ValidationSize::Fraction(share) => Size::Fraction(share),
    };
    v1::Validation { size: Some(size), every_epochs: Some(int(config.every_epochs)) }
}

fn named(path: &str, requested: v1::Dataset) -> Result<DatasetSpec, FieldError> {
    let name: DatasetName = requested.name.parse().map_err(FieldError::at(format!("{path}.name")))?;
    let seed =
        requested.seed.map(|seed| count(&format!("{path}.seed"), Some(seed), 0..=ANY, 0)).transpose()?;
    let most = format!("{path}.max_train_images");
    let most = requested.max_train_images.map(|images| count(&most, Some(images), 1..=ANY, 1)).transpose()?;
    Ok(DatasetSpec { name, seed: seed.map(u64::from), max_train_images: most.map(|images| images as usize) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, seed: Option<i32>, max_train_images: Option<i32>) -> Option<v1::Dataset> {
        Some(v1::Dataset { name: name.to_owned(), seed, max_train_images })
    }

    #[test]
    fn training_defaults_to_mnist() {
        assert_eq!(train_dataset(None).unwrap().name.as_str(), "mnist");
        let seeded = train_dataset(set("", Some(3), Some(100))).unwrap();
        assert_eq!(
            (seeded.name.as_str(), seeded.seed, seeded.max_train_images),
            ("mnist", Some(3), Some(100))
        );
        assert_eq!(train_dataset(Some(from_dataset(&seeded))), Ok(seeded));
    }

    #[test]
    fn other_calls_default_to_the_data_set_of_the_version() {
        assert_eq!(dataset("dataset", None), Ok(None));
        assert_eq!(dataset("dataset", set("", None, None)), Ok(None));
        assert_eq!(dataset("dataset", set("", Some(1), None)).unwrap_err().field, "dataset.name");
    }

    #[test]
    fn fields_out_of_range_are_named() {
        let field = |requested| train_dataset(requested).unwrap_err().field;
        assert_eq!(field(set("a/b", None, None)), "dataset.name");
        assert_eq!(field(set("mnist", Some(-1), None)), "dataset.seed");
        assert_eq!(field(set("mnist", None, Some(0))), "dataset.max_train_images");
    }

    #[test]
    fn validation_is_a_count_or_a_share() {
        let default = ValidationSize::Count(50);
        let of = |size, every_epochs| validation(Some(v1::Validation { size, every_epochs }), default);
        let unsaid = ValidationConfig { size: default, every_epochs: 1 };
        assert_eq!(validation(None, default), Ok(unsaid));
        assert_eq!(of(None, None), Ok(unsaid));
        let share = of(Some(Size::Fraction(0.25)), Some(2)).unwrap();
        assert_eq!(share, ValidationConfig { size: ValidationSize::Fraction(0.25), every_epochs: 2 });
        assert_eq!(validation(Some(from_validation(share)), default), Ok(share));
        assert_eq!(of(Some(Size::Count(0)), None).unwrap().size, ValidationSize::Count(0));
        assert_eq!(of(Some(Size::Count(-1)), None).unwrap_err().field, "validation.count");
        assert_eq!(of(None, Some(0)).unwrap_err().field, "validation.every_epochs");
    }
}
