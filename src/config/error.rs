//! Errors of settings, and the setting that was probably meant.

use std::path::PathBuf;

/// The reason why settings cannot be loaded; every message names the place.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read the settings in {}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("{place}: there is no setting {key:?}{}", hint(near))]
    UnknownKey { place: String, key: String, near: Option<String> },
    #[error("there is no setting {name}{}", hint(near))]
    UnknownVariable { name: String, near: Option<String> },
    #[error("{place}: {cause}")]
    Value { place: String, cause: String },
}

/// The candidate that was probably meant.
pub fn nearest<'a>(text: &str, candidates: impl Iterator<Item = &'a String>) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::jaro_winkler(candidate, text), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate.as_str())
}

fn hint(near: &Option<String>) -> String {
    match near {
        Some(near) => format!("; did you mean {near}?"),
        None => "; `digitd serve --print-config` shows those that there are".to_owned(),
    }
}
