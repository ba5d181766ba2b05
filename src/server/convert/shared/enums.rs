//! Enums of the contract ⇄ enums of the rooms. `enum_map!` is the only place where both are matched; a variant
//! that is added on either side does not compile until it stands in the list below.

use crate::{
    checkpoint::import::Layout,
    data::{
        Split,
        image::{Normalization, Quality},
    },
    engine::WeightsOrigin,
    ids::FieldError,
    inspect::{DrawingKind, FindingKind},
    nn::{DropoutMode, Precision},
    pb::digitd::v1,
    train::{FinishReason, Loss, Metric, Recipe, Rule, RunState},
};

/// An enum of the rooms that has a counterpart in the contract.
pub trait ContractEnum: Copy {
    /// What UNSPECIFIED means. `None` if it means nothing by itself.
    const DEFAULT: Option<Self>;

    /// The names of the values that a request may carry, for messages.
    fn names() -> String;

    /// The number of the value in a message.
    fn to_wire(self) -> i32;

    /// The value with this number; `None` for UNSPECIFIED. Errors for a number that the contract does not
    /// have, with the field and the values that it has.
    fn optional(field: &str, number: i32) -> Result<Option<Self>, FieldError>;

    /// The value with this number, or the default for UNSPECIFIED. Errors also if there is no default.
    fn parse(field: &str, number: i32) -> Result<Self, FieldError> {
        let value = Self::optional(field, number)?.or(Self::DEFAULT);
        value.ok_or_else(|| FieldError::new(field, format!("is unspecified: use {}", Self::names())))
    }
}

/// The number of an optional value in a message; 0 is UNSPECIFIED in every enum of the contract.
pub fn optional_to_wire<E: ContractEnum>(value: Option<E>) -> i32 {
    value.map_or(0, E::to_wire)
}

/// Maps an enum of the contract to one of a room, written
/// `contract enum => enum of a room { variants that both have } unspecified = default;`.
macro_rules! enum_map {
    (@default) => { None };
    (@default $default:ident) => { Some(Self::$default) };
    ($($wire:ty => $room:ty { $($variant:ident),+ $(,)? } $(unspecified = $default:ident)?;)+) => {$(
        impl ContractEnum for $room {
            const DEFAULT: Option<Self> = enum_map!(@default $($default)?);

            fn names() -> String {
                type Wire = $wire;
                [$(Wire::$variant.as_str_name()),+].join(", ")
            }

            fn to_wire(self) -> i32 {
                type Wire = $wire;
                let value = match self {
                    $(Self::$variant => Wire::$variant),+
                };
                value.into()
            }

            fn optional(field: &str, number: i32) -> Result<Option<Self>, FieldError> {
                type Wire = $wire;
                match Wire::try_from(number) {
                    Ok(Wire::Unspecified) => Ok(None),
                    $(Ok(Wire::$variant) => Ok(Some(Self::$variant)),)+
                    Err(_) => {
                        let message = format!("is {number}: use {}", Self::names());
                        Err(FieldError::new(field, message))
                    }
                }
            }
        }
    )+};
}

enum_map! {
    v1::Split => Split { Train, Validation, Test } unspecified = Test;
    v1::Recipe => Recipe { Tutorial, Fast, Accurate };
    v1::Precision => Precision { Float32, Float64, Bfloat16 } unspecified = Float32;
    v1::Loss => Loss { CrossEntropy, MeanSquaredError } unspecified = CrossEntropy;
    v1::DropoutMode => DropoutMode { UpscaleInTrain, DownscaleInInfer } unspecified = UpscaleInTrain;
    v1::EarlyStoppingMetric => Metric { ValidationLoss, ValidationAccuracy } unspecified = ValidationLoss;
    v1::RunState => RunState { Queued, Running, Completed, Cancelled, Failed, Interrupted };
    v1::FinishReason => FinishReason {
        Completed, EarlyStopped, Cancelled, NonFinite, Interrupted, Failed,
    };
    v1::WarningRule => Rule {
        DeadChannels, ExplodingGradients, VanishingGradients, UpdateRatio, Overfitting, Underfitting, Plateau,
        ClassNeverPredicted,
    };
    v1::FindingKind => FindingKind { NotFinite, DeadChannels, NeverMoved, SaturatedSoftmax, DuplicateKernels };
    v1::DrawingKind => DrawingKind { Kernels, FeatureMaps, Saliency, Occlusion, Histograms };
    v1::WeightsOrigin => WeightsOrigin { Training, Checkpoint, Version };
    v1::Normalization => Normalization { None, Scale, Center, Auto };
    v1::Quality => Quality {
        Good, Blank, SeveralShapes, TooSmall, LowContrast, NotStrokes, Border, LightBackground,
    };
    v1::WeightsLayout => Layout { Libtorch, Paddle } unspecified = Libtorch;
    v1::ValueForm => ValueForm { Bytes, Numbers } unspecified = Bytes;
    v1::ExportFormat => ExportFormat { Safetensors, Onnx } unspecified = Safetensors;
}

/// How a response carries the values of a parameter. No room knows it: they hand out bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueForm {
    Bytes,
    Numbers,
}

/// The format of an exported version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    Safetensors,
    Onnx,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_survives_a_round_trip_and_an_unspecified_one_is_the_default() {
        assert_eq!(Split::parse("split", Split::Validation.to_wire()), Ok(Split::Validation));
        assert_eq!(Split::parse("split", 0), Ok(Split::Test));
        assert_eq!(Recipe::optional("recipe", 0), Ok(None));
        assert_eq!(optional_to_wire(None::<Recipe>), 0);
        assert_eq!(optional_to_wire(Some(Recipe::Fast)), v1::Recipe::Fast as i32);
    }

    #[test]
    fn an_unknown_number_is_rejected_with_the_field_and_its_values() {
        let error = Split::parse("health.split", 9).unwrap_err();
        assert_eq!(error.to_string(), "health.split is 9: use SPLIT_TRAIN, SPLIT_VALIDATION, SPLIT_TEST");
        let error = DrawingKind::parse("drawings[0]", 0).unwrap_err();
        assert!(error.message.starts_with("is unspecified: use DRAWING_KIND_KERNELS, "), "{error}");
    }
}
