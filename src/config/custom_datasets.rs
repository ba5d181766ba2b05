//! Custom data sets in the settings: `NAME=FOLDER` on the command line, several of them in one variable, and
//! the names that they may have.

use std::{collections::BTreeMap, path::PathBuf, str::FromStr};

use figment::value::{Dict, Value};

use super::error::Error;
use crate::{
    data::{
        catalog::{MNIST, SYNTHETIC},
        custom::MAX_SETS,
    },
    ids::DatasetName,
};

/// A data set's name and its folder, written `NAME=FOLDER`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFolder {
    pub name: DatasetName,
    pub folder: PathBuf,
}

impl FromStr for NamedFolder {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, folder) = text.split_once('=').ok_or_else(|| {
            format!("{text:?} is not a data set: write NAME=FOLDER, as in letters=/srv/letters")
        })?;
        let name = name.trim().parse().map_err(|error: crate::ids::Error| error.to_string())?;
        Ok(Self { name, folder: folder.trim().into() })
    }
}

/// The data sets in a variable: `NAME=FOLDER` with commas between them.
pub(super) fn parse_list(place: &str, text: &str) -> Result<Value, Error> {
    let parts = text.split(',').filter(|part| !part.trim().is_empty());
    let sets: Result<Vec<NamedFolder>, String> = parts.map(str::parse).collect();
    table(place, &sets.map_err(|cause| Error::Value { place: place.to_owned(), cause })?)
}

/// The data sets as a table of folders by name. Errors when two of them have one name.
pub(super) fn table(place: &str, sets: &[NamedFolder]) -> Result<Value, Error> {
    let mut table = Dict::new();
    for NamedFolder { name, folder } in sets {
        if table.insert(name.to_string(), Value::from(folder.display().to_string())).is_some() {
            let cause = format!("two data sets are named {name}: give each its own name");
            return Err(Error::Value { place: place.to_owned(), cause });
        }
    }
    Ok(Value::from(table))
}

/// Errors on the name of a built-in data set, on a missing folder, and on too many data sets.
pub(super) fn check(sets: &BTreeMap<DatasetName, PathBuf>) -> Result<(), Error> {
    let invalid = |name: &str, cause: String| Error::Value { place: format!("data.sets{name}"), cause };
    if sets.len() > MAX_SETS {
        return Err(invalid("", format!("has {} data sets: name at most {MAX_SETS}", sets.len())));
    }
    for (name, folder) in sets {
        if [MNIST, SYNTHETIC].contains(&name.as_str()) {
            let cause = "is built in: choose another name".to_owned();
            return Err(invalid(&format!(".{name}"), cause));
        }
        if folder.as_os_str().is_empty() {
            return Err(invalid(
                &format!(".{name}"),
                "has no folder: name the one that it lies in".to_owned(),
            ));
        }
    }
    Ok(())
}
