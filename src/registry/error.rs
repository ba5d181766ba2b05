//! The errors of the registry.

use crate::ids::{Alias, ModelName, RunId, Version};

/// An error of the registry, by the kinds that a caller can act on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no model \"{0}\": train one, or list the models that there are")]
    ModelNotFound(ModelName),
    #[error("model {:?} has no version {version}: list its versions", model.as_str())]
    VersionNotFound { model: ModelName, version: Version },
    #[error("model {:?} has no alias {:?}: set it first", model.as_str(), alias.as_str())]
    AliasNotFound { model: ModelName, alias: Alias },
    #[error("there is no run {0}: list the runs that there are")]
    RunNotFound(RunId),
    #[error("version {version} of {:?} is what {} points to: move the alias first", model.as_str(), names(aliases))]
    VersionAliased { model: ModelName, version: Version, aliases: Vec<Alias> },
    /// The alias is not where the caller expected it; `found` is where it is.
    #[error("alias {:?} of {:?} {}: look again and decide anew", alias.as_str(), model.as_str(), current_state(*found))]
    AliasMoved { model: ModelName, alias: Alias, found: Option<Version> },
    #[error("alias {:?} of {:?} has never pointed elsewhere: there is nothing to go back to", alias.as_str(), model.as_str())]
    NothingBefore { model: ModelName, alias: Alias },
    /// An object of the store is not what was written.
    #[error("{path} is damaged: {message}")]
    Corrupt { path: String, message: String },
    /// An object that seems complete but was written by another version of digitd.
    #[error("{path} has format {found}, and this digitd reads {known}: use {} digitd", age(*found, *known))]
    UnknownFormat { path: String, found: u32, known: u32 },
    #[error("{bytes} bytes of {what} are above the limit of {limit}")]
    TooLarge { what: &'static str, bytes: usize, limit: usize },
    #[error("{0:?} is not a place for a store: give a folder, file:///folder, s3://bucket/prefix or memory:")]
    Location(String),
    #[error("the store at {url} cannot be written: {message}; {}", advice(url))]
    Unwritable { url: String, message: String },
    #[error("cannot {action} {path}: {}", causes(source))]
    Store { action: &'static str, path: String, source: object_store::Error },
}

/// The message of an error and of everything that caused it: the last one says whether a port was closed, a certificate
/// unknown or a name not found.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        // Many errors repeat the message of their cause.
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}

fn names(aliases: &[Alias]) -> String {
    let names: Vec<&str> = aliases.iter().map(Alias::as_str).collect();
    names.join(", ")
}

fn current_state(found: Option<Version>) -> String {
    found.map_or_else(|| "was never set".to_owned(), |version| format!("points to version {version} now"))
}

fn age(found: u32, known: u32) -> &'static str {
    if found > known { "a newer" } else { "an older" }
}

fn advice(url: &str) -> &'static str {
    match url.starts_with("s3:") {
        true => {
            "look at the bucket's name and at AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY"
        }
        false => "make the folder writable or name another",
    }
}
