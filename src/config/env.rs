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
        if is_service_link(rest, &text) {
            continue;
        }
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

/// Whether Kubernetes set the variable: for a service named `digitd-server-grpc` every container of the namespace has
/// `DIGITD_SERVER_GRPC_SERVICE_HOST`, `DIGITD_SERVER_GRPC_PORT_8001_TCP_ADDR` and the like, which are no settings. The
/// forms are those of <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>.
fn is_service_link(name: &str, text: &str) -> bool {
    let is_url =
        || PROTOCOLS.iter().any(|protocol| text.starts_with(&format!("{}://", protocol.to_lowercase())));
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        // The port has a name: `_SERVICE_PORT_GRPC`.
        || name.contains("_SERVICE_PORT_")
        || name.ends_with("_PORT") && is_url()
        || name.match_indices("_PORT_").any(|(at, word)| is_port_link(&name[at + word.len()..]))
}

/// The protocols of a port of a service.
const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];

/// Whether the text is a port and its protocol, and perhaps what the variable says of them: `8001_TCP_ADDR`.
fn is_port_link(text: &str) -> bool {
    let mut words = text.split('_');
    let is_port = words.next().is_some_and(|port| port.parse::<u16>().is_ok());
    let is_protocol = words.next().is_some_and(|word| PROTOCOLS.contains(&word));
    let rest: Vec<_> = words.collect();
    is_port && is_protocol && matches!(rest[..], [] | ["PROTO" | "PORT" | "ADDR"])
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_links_of_services_are_no_settings() {
        for (name, text) in [
            ("SERVER_SERVICE_HOST", "10.0.0.1"),
            ("SERVER_SERVICE_PORT", "8001"),
            ("SERVER_SERVICE_PORT_GRPC", "8001"),
            ("SERVER_PORT", "tcp://10.0.0.1:8001"),
            ("SERVER_GRPC_PORT_8001_TCP", "tcp://10.0.0.1:8001"),
            ("SERVER_GRPC_PORT_8001_TCP_ADDR", "10.0.0.1"),
            ("SERVER_METRICS_SERVICE_HOST", "10.0.0.1"),
            ("SERVER_HEADLESS_PORT", "udp://10.0.0.1:8001"),
            ("STORE_MINIO_PORT_9000_SCTP_PROTO", "sctp"),
            ("STORE_PORT_1_UDP_PORT", "1"),
        ] {
            assert!(is_service_link(name, text), "{name}={text}");
        }
        for (name, text) in [
            ("SERVER_PORT", "8001"),
            ("SERVER_GRPC_PORT_8001", "1"),
            ("SERVER_PORT_TCP", "1"),
            ("SERVER_GRPC_ADDR", "127.0.0.1:1"),
            ("SERVER_PORT_80_TCP_NAME", "1"),
        ] {
            assert!(!is_service_link(name, text), "{name}={text}");
        }
    }
}
