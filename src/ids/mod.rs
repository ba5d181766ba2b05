//! Identifiers that cannot be invalid: parsed once where they enter, trusted from there on. They have
//! a form but no meaning; whether a model or run exists is known to the registry. The error that names a
//! field of a request (`FieldError`) is here too, because every room may use this one.

mod field_error;

use std::{fmt, str::FromStr};

pub use field_error::FieldError;

/// Longest model name, alias or data-set name, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// Why a text is not an identifier; says what would be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(
        "{kind} {text:?} is not valid: use 1 to {MAX_NAME_BYTES} of a-z, A-Z, 0-9, '-', '_' and '.', beginning with a letter or digit"
    )]
    Name { kind: &'static str, text: String },
    #[error("alias {0:?} is all digits and would read as a version: begin it with a letter")]
    NumericAlias(String),
    #[error("version {0} is not valid: versions count from 1")]
    Version(i64),
    #[error("run id {0:?} is not valid: it looks like 0192f0c1-7d1e-7cc3-98c4-dc0c0c07398f")]
    RunId(String),
}

macro_rules! name_type {
    ($(#[$doc:meta])* $type:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $type {
            type Error = Error;
            fn try_from(text: String) -> Result<Self, Error> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl FromStr for $type {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self, Error> {
                check_name($kind, text)?;
                Self::check(text)?;
                Ok(Self(text.to_owned()))
            }
        }
    };
}

name_type!(
    /// The name of a model in the registry, for instance `digits`.
    ModelName,
    "model name"
);
name_type!(
    /// A movable name for a version, for instance `production`.
    Alias,
    "alias"
);
name_type!(
    /// The name of a data set, for instance `mnist` or `synthetic`.
    DatasetName,
    "data set name"
);

impl ModelName {
    fn check(_: &str) -> Result<(), Error> {
        Ok(())
    }
}

impl Default for ModelName {
    /// The model that a request means when it names none.
    fn default() -> Self {
        Self("digits".to_owned())
    }
}

impl Alias {
    /// The alias that a reference without version or alias resolves to, once it was ever set.
    pub fn production() -> Self {
        Self("production".to_owned())
    }

    /// The alias that is moved to every version that a finished run publishes.
    pub fn latest() -> Self {
        Self("latest".to_owned())
    }

    fn check(text: &str) -> Result<(), Error> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Error::NumericAlias(text.to_owned()));
        }
        Ok(())
    }
}

impl DatasetName {
    fn check(_: &str) -> Result<(), Error> {
        Ok(())
    }
}

/// A version of a model.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct VersionRef {
    pub model: ModelName,
    pub version: Version,
}

impl fmt::Display for VersionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {} of {:?}", self.version, self.model.as_str())
    }
}

/// The number of a published version, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Version(u32);

impl Version {
    pub const FIRST: Self = Self(1);

    pub fn get(self) -> u32 {
        self.0
    }

    /// The version after this one; none after the largest number that a request can name.
    pub fn next(self) -> Option<Self> {
        Self::try_from(i64::from(self) + 1).ok()
    }
}

impl TryFrom<i64> for Version {
    type Error = Error;
    fn try_from(number: i64) -> Result<Self, Error> {
        match i32::try_from(number) {
            Ok(small) if small >= 1 => Ok(Self(small.unsigned_abs())),
            _ => Err(Error::Version(number)),
        }
    }
}

impl From<Version> for i64 {
    fn from(version: Version) -> i64 {
        i64::from(version.0)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The identifier of a run: a UUID of version 7, so that ids sort by the time of their creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(uuid::Uuid);

impl RunId {
    /// A fresh id, later than every earlier one of this process.
    pub fn new() -> Self {
        Self(uuid::Uuid::now_v7())
    }
}

impl Default for RunId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for RunId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        // The hyphenated form alone: run ids name folders, so each run has one spelling.
        match uuid::Uuid::try_parse(text) {
            Ok(id) if id.hyphenated().to_string() == text => Ok(Self(id)),
            _ => Err(Error::RunId(beginning(text))),
        }
    }
}

impl TryFrom<String> for RunId {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> String {
        id.to_string()
    }
}

fn check_name(kind: &'static str, text: &str) -> Result<(), Error> {
    let of_form = text.len() <= MAX_NAME_BYTES
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if of_form {
        return Ok(());
    }
    Err(Error::Name { kind, text: beginning(text) })
}

/// What a message quotes of a text that is no identifier: a hostile one may be long.
fn beginning(text: &str) -> String {
    text.chars().take(MAX_NAME_BYTES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_name_is_a_plain_file_name() {
        for good in ["digits", "a", "mnist-5.2_x", &"x".repeat(64)] {
            assert_eq!(good.parse::<ModelName>().unwrap().as_str(), good);
        }
        for bad in ["", "..", ".hidden", "a/b", "a b", "é", "a\0", &"x".repeat(65)] {
            assert!(bad.parse::<ModelName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_alias_of_digits_alone_is_rejected() {
        assert_eq!("3".parse::<Alias>(), Err(Error::NumericAlias("3".to_owned())));
        assert!("v3".parse::<Alias>().is_ok());
    }

    #[test]
    fn versions_count_from_one() {
        assert!(Version::try_from(0).is_err());
        assert!(Version::try_from(-1).is_err());
        assert!(Version::try_from(i64::MAX).is_err());
        assert_eq!(Version::try_from(1).unwrap(), Version::FIRST);
        assert_eq!(Version::FIRST.next().map(Version::get), Some(2));
        assert_eq!(Version::try_from(i64::from(i32::MAX)).unwrap().next(), None);
    }

    #[test]
    fn a_run_id_has_one_spelling() {
        let id = RunId::new();
        assert_eq!(id.to_string().parse::<RunId>().unwrap(), id);
        assert!(id.to_string().to_uppercase().parse::<RunId>().is_err());
        assert!("../../etc".parse::<RunId>().is_err());
        let long = "x".repeat(20_000).parse::<RunId>().unwrap_err();
        assert!(long.to_string().len() < 200, "a message quotes the beginning only");
    }

    #[test]
    fn later_run_ids_sort_after_earlier_ones() {
        let ids: Vec<_> = (0..1000).map(|_| RunId::new()).collect();
        assert!(ids.is_sorted());
    }
}
