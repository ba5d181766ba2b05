//! `DIGITD_SECTION_KEY` variables as settings. Only variables of known sections are settings, so that those of
//! scripts (`DIGITD_LIBTORCH`) are not.

use figment::value::{Dict, Map, Value};

use super::{
    custom_datasets,
    error::{Error, nearest},
};

const PREFIX: &str = "DIGITD_";

/// The settings among `variables`, by section and key. `known` holds every section with every key
/// and its default, whose type decides how a text is read.
///
/// Errors on a key that its section does not have, and on a misspelt section.
pub(super) fn sections(
    variables: impl Iterator<Item = (String, String)>,
    known: &Dict,
) -> Result<Map<String, Dict>, Error> {
    let mut sections = Map::new();
    for (name, text) in variables {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let Some((section, key)) = rest.split_once('_') else { continue };
        let (section, key) = (section.to_ascii_lowercase(), key.to_ascii_lowercase());
        let Some(Value::Dict(_, keys)) = known.get(&section) else {
            check_section(&name, &section, &key, known)?;
            continue;
        };
        match keys.get(&key) {
            Some(default) => {
                let value = typed(&name, text, default)?;
                sections.entry(section).or_insert_with(Dict::new).insert(key, value);
            }
            None if is_service_link(&key, &text) => {}
            None => {
                let near = nearest(&key, keys.keys());
                return Err(Error::UnknownVariable { near: near.map(|key| variable(&section, key)), name });
            }
        }
    }
    Ok(sections)
}

/// Errors on a section that is one letter off a known one and has a key of it: no other program would use that
/// name.
fn check_section(name: &str, section: &str, key: &str, known: &Dict) -> Result<(), Error> {
    for (ours, keys) in known {
        let Value::Dict(_, keys) = keys else { continue };
        if keys.contains_key(key) && strsim::damerau_levenshtein(ours, section) == 1 {
            return Err(Error::UnknownVariable { name: name.to_owned(), near: Some(variable(ours, key)) });
        }
    }
    Ok(())
}

/// Whether Kubernetes set the variable: a service named `digitd-server` sets `DIGITD_SERVER_PORT=tcp://…` and
/// the like in every container, which are no settings.
fn is_service_link(key: &str, text: &str) -> bool {
    key.starts_with("service_host")
        || key.starts_with("service_port")
        || key.starts_with("port_")
        || text.starts_with("tcp://")
}

fn typed(name: &str, text: String, default: &Value) -> Result<Value, Error> {
    match default {
        Value::Num(..) => match text.trim().parse::<usize>() {
            Ok(number) => Ok(Value::from(number)),
            Err(_) => Err(Error::Value {
                place: name.to_owned(),
                cause: format!("{text:?} is not a whole number from 0"),
            }),
        },
        // The only table among the settings is that of custom data sets.
        Value::Dict(..) => custom_datasets::parse_list(name, &text),
        _ => Ok(Value::from(text)),
    }
}

fn variable(section: &str, key: &str) -> String {
    format!("{PREFIX}{}_{}", section.to_ascii_uppercase(), key.to_ascii_uppercase())
}
