//! `DIGITD_SECTION_KEY` variables as settings. Claims the sections that there are, so that
//! variables of scripts (`DIGITD_LIBTORCH`) stay their own.

use figment::value::{Dict, Map, Value};

use super::Error;

const PREFIX: &str = "DIGITD_";

/// The settings among `variables`, by section and key. `known` holds every section with every key
/// and its default, whose type decides how a text is read.
///
/// Errors on a key that its section does not have, and on a section that is another's misspelling.
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
                let near = super::load::nearest(&key, keys.keys());
                return Err(Error::UnknownVariable { near: near.map(|key| variable(&section, key)), name });
            }
        }
    }
    Ok(sections)
}

/// A section that no other program would name so is a misspelling: one letter off, and its key is
/// one of ours.
fn check_section(name: &str, section: &str, key: &str, known: &Dict) -> Result<(), Error> {
    for (ours, keys) in known {
        let Value::Dict(_, keys) = keys else { continue };
        if keys.contains_key(key) && strsim::damerau_levenshtein(ours, section) == 1 {
            return Err(Error::UnknownVariable { name: name.to_owned(), near: Some(variable(ours, key)) });
        }
    }
    Ok(())
}

/// Kubernetes tells every container of the services beside it: a service named `digitd-server` sets
/// `DIGITD_SERVER_PORT=tcp://…` and the like, which are no settings.
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
        // The one table among the settings is that of the data sets.
        Value::Dict(..) => super::sets::parse_list(name, &text),
        _ => Ok(Value::from(text)),
    }
}

fn variable(section: &str, key: &str) -> String {
    format!("{PREFIX}{}_{}", section.to_ascii_uppercase(), key.to_ascii_uppercase())
}
