//! Fields that several messages of the protocol have, and the names of the tensors.

use crate::{
    ids::{FieldError, Version},
    pb::inference::{InferParameter, infer_parameter::ParameterChoice},
    registry::{ModelRef, VersionSelector},
    server::convert::shared::reference,
};

/// The name of the input tensor, which is FP32 or UINT8.
pub const INPUT: &str = "input";

/// The name of the output tensor FP32 [N, classes].
pub const PROBABILITIES: &str = "probabilities";

/// The name of the output tensor INT64 [N].
pub const LABEL: &str = "label";

/// A message quotes this many characters of a text, which may be hostile and long.
const MAX_QUOTED: usize = 64;

/// The version that a name and a version refer to; empty texts mean the defaults. Each text comes with the
/// field that carries it.
pub fn model_reference(name: (&str, &str), version: (&str, &str)) -> Result<ModelRef, FieldError> {
    Ok(ModelRef { name: reference::name(name.0, name.1)?, which: which(version.0, version.1)? })
}

fn which(field: &str, text: &str) -> Result<VersionSelector, FieldError> {
    let wrong = || {
        let message = format!("is {}: use a version's number, an alias, or nothing", quoted(text));
        FieldError::new(field, message)
    };
    if text.is_empty() {
        return Ok(VersionSelector::Default);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map(VersionSelector::Alias).map_err(|_| wrong());
    }
    let number = text.parse::<i64>().map_err(|_| wrong())?;
    Version::try_from(number).map(VersionSelector::Version).map_err(FieldError::at(field))
}

/// A whole number that is not negative, in whichever integer field it comes.
pub fn whole(field: &str, parameter: &InferParameter) -> Result<u64, FieldError> {
    let number = match parameter.parameter_choice {
        Some(ParameterChoice::Int64Param(number)) => u64::try_from(number).ok(),
        Some(ParameterChoice::Uint64Param(number)) => Some(number),
        Some(
            ParameterChoice::BoolParam(_) | ParameterChoice::StringParam(_) | ParameterChoice::DoubleParam(_),
        )
        | None => None,
    };
    number.ok_or_else(|| FieldError::new(field, "is not a whole number from 0: use int64_param"))
}

pub fn quoted(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Result<VersionSelector, FieldError> {
        model_reference(("name", ""), ("version", text)).map(|reference| reference.which)
    }

    #[test]
    fn a_version_is_a_number_an_alias_or_left_out() {
        assert_eq!(version(""), Ok(VersionSelector::Default));
        assert_eq!(version("7"), Ok(VersionSelector::Version(7.try_into().unwrap())));
        assert_eq!(version("latest"), Ok(VersionSelector::Alias("latest".parse().unwrap())));
        for wrong in ["0", "-1", "1.5/x", "99999999999999999999", "3000000000", "a b"] {
            assert_eq!(version(wrong).unwrap_err().field, "version", "{wrong}");
        }
    }

    #[test]
    fn a_long_text_is_quoted_by_its_beginning() {
        assert_eq!(quoted("a\"b"), r#""a\"b""#);
        assert_eq!(quoted(&"é".repeat(1000)), format!("{:?}…", "é".repeat(64)));
    }

    #[test]
    fn a_parameter_that_counts_is_a_whole_number() {
        let of = |choice| whole("k", &InferParameter { parameter_choice: choice });
        assert_eq!(of(Some(ParameterChoice::Int64Param(3))), Ok(3));
        assert_eq!(of(Some(ParameterChoice::Uint64Param(3))), Ok(3));
        assert!(of(Some(ParameterChoice::Int64Param(-3))).is_err());
        assert!(of(Some(ParameterChoice::DoubleParam(3.0))).is_err());
        assert!(of(None).is_err());
    }
}
