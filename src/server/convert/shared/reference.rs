//! How requests name models, versions, aliases and runs.

use super::field::int;
use crate::{
    ids::{Alias, FieldError, ModelName, RunId, Version, VersionRef},
    pb::digitd::v1::{self, model_ref},
    registry::{ModelRef, VersionSelector},
};

/// The model that a text names; an empty text means the default model.
pub fn name(field: &str, text: &str) -> Result<ModelName, FieldError> {
    match text {
        "" => Ok(ModelName::default()),
        text => text.parse().map_err(FieldError::at(field)),
    }
}

pub fn version(field: &str, number: i32) -> Result<Version, FieldError> {
    Version::try_from(i64::from(number)).map_err(FieldError::at(field))
}

pub fn alias(field: &str, text: &str) -> Result<Alias, FieldError> {
    text.parse().map_err(FieldError::at(field))
}

/// The reference at `path`. If it is left out, it means the default version of the default model.
pub fn reference(path: &str, given: Option<v1::ModelRef>) -> Result<ModelRef, FieldError> {
    let Some(given) = given else { return Ok(ModelRef::default()) };
    from_parts(&format!("{path}."), &given.name, given.which)
}

/// A reference that comes as several fields, whose paths begin with `prefix`.
pub fn from_parts(prefix: &str, text: &str, which: Option<model_ref::Which>) -> Result<ModelRef, FieldError> {
    let which = match which {
        None => VersionSelector::Default,
        Some(model_ref::Which::Version(number)) => {
            VersionSelector::Version(version(&format!("{prefix}version"), number)?)
        }
        Some(model_ref::Which::Alias(text)) => {
            VersionSelector::Alias(alias(&format!("{prefix}alias"), &text)?)
        }
    };
    Ok(ModelRef { name: name(&format!("{prefix}name"), text)?, which })
}

/// The reference at `path` to exactly one version, as `from_exact` writes it.
pub fn exact(path: &str, given: v1::ModelRef) -> Result<VersionRef, FieldError> {
    let reference = reference(path, Some(given))?;
    match reference.which {
        VersionSelector::Version(version) => Ok(VersionRef { model: reference.name, version }),
        VersionSelector::Default | VersionSelector::Alias(_) => {
            Err(FieldError::new(format!("{path}.version"), "is missing"))
        }
    }
}

pub fn from_exact(exact: &VersionRef) -> v1::ModelRef {
    let which = Some(model_ref::Which::Version(int(exact.version.get())));
    v1::ModelRef { name: exact.model.to_string(), which }
}

pub fn run_id(field: &str, text: &str) -> Result<RunId, FieldError> {
    text.parse().map_err(FieldError::at(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, which: Option<model_ref::Which>) -> Result<ModelRef, FieldError> {
        reference("model", Some(v1::ModelRef { name: name.to_owned(), which }))
    }

    #[test]
    fn an_empty_reference_is_the_default_version_of_digits() {
        assert_eq!(reference("model", None), Ok(ModelRef::default()));
        assert_eq!(of("", None).unwrap().name.as_str(), "digits");
    }

    #[test]
    fn an_invalid_reference_is_named() {
        let field = |given: Result<ModelRef, FieldError>| given.unwrap_err().field;
        assert_eq!(field(of("a/b", None)), "model.name");
        assert_eq!(field(of("", Some(model_ref::Which::Version(0)))), "model.version");
        assert_eq!(field(of("", Some(model_ref::Which::Alias("7".to_owned())))), "model.alias");
        assert_eq!(field(of("", Some(model_ref::Which::Alias(String::new())))), "model.alias");
    }
}
