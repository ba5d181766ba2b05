//! Messages of the Open Inference Protocol ⇄ types of the rooms: one input, `input`, and two outputs,
//! `probabilities` and `label`, of every model.

pub mod answer;
pub mod describe;
pub mod question;
pub mod tensor;

use super::{Invalid, model};
use crate::{
    ids::Version,
    pb::inference::{InferParameter, infer_parameter::ParameterChoice},
    registry::{ModelRef, Which},
};

/// The one input, FP32 or UINT8.
pub const INPUT: &str = "input";

/// FP32 [N, classes].
pub const PROBABILITIES: &str = "probabilities";

/// INT64 [N].
pub const LABEL: &str = "label";

/// Of a hostile text, messages quote this many characters.
const MOST_QUOTED: usize = 64;

/// What a name and a version mean; empty ones mean the defaults. Each comes with the field that
/// carries it.
pub fn reference(name: (&str, &str), version: (&str, &str)) -> Result<ModelRef, Invalid> {
    Ok(ModelRef { name: model::name(name.0, name.1)?, which: which(version.0, version.1)? })
}

fn which(field: &str, text: &str) -> Result<Which, Invalid> {
    let wrong = || {
        let message = format!("is {}: use a version's number, an alias, or nothing", quoted(text));
        Invalid::new(field, message)
    };
    if text.is_empty() {
        return Ok(Which::Default);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map(Which::Alias).map_err(|_| wrong());
    }
    let number = text.parse::<i64>().map_err(|_| wrong())?;
    Version::try_from(number).map(Which::Version).map_err(Invalid::at(field))
}

/// A whole number that is not negative, whichever of the integer fields carries it.
fn whole(field: &str, parameter: &InferParameter) -> Result<u64, Invalid> {
    let number = match parameter.parameter_choice {
        Some(ParameterChoice::Int64Param(number)) => u64::try_from(number).ok(),
        Some(ParameterChoice::Uint64Param(number)) => Some(number),
        Some(
            ParameterChoice::BoolParam(_) | ParameterChoice::StringParam(_) | ParameterChoice::DoubleParam(_),
        )
        | None => None,
    };
    number.ok_or_else(|| Invalid::new(field, "is no whole number from 0 on: use int64_param"))
}

fn quoted(text: &str) -> String {
    match text.char_indices().nth(MOST_QUOTED) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Result<Which, Invalid> {
        reference(("name", ""), ("version", text)).map(|reference| reference.which)
    }

    #[test]
    fn a_version_is_a_number_an_alias_or_left_out() {
        assert_eq!(version(""), Ok(Which::Default));
        assert_eq!(version("7"), Ok(Which::Version(7.try_into().unwrap())));
        assert_eq!(version("latest"), Ok(Which::Alias("latest".parse().unwrap())));
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
