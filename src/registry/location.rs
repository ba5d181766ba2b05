//! The location of a store: memory, a folder, or a bucket of S3 or of an S3-compatible store.
//! Endpoint, region and credentials of a bucket come from the variables that every AWS tool reads,
//! and none of them is put into a message.

use std::{path::PathBuf, sync::Arc, time::Duration};

use object_store::{
    ObjectStore, ObjectStoreExt as _, local::LocalFileSystem, memory::InMemory, path::Path,
    prefix::PrefixStore,
};

use super::{
    Error,
    bucket::{Retries, open_bucket},
    error::causes,
};

/// Longest wait for the cause of a silence.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// The location of a store.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StoreLocation {
    Memory,
    Folder(PathBuf),
    Bucket { name: String, prefix: Path },
}

impl StoreLocation {
    /// Parses a location: a folder, `file:///folder`, `s3://bucket/prefix` or `memory:`.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let location = match url.split_once(':') {
            Some(("memory", "" | "//")) => Some(Self::Memory),
            Some(("file", rest)) => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                path.starts_with('/').then(|| Self::Folder(path.into()))
            }
            Some(("s3", rest)) => rest.strip_prefix("//").and_then(bucket),
            _ if url.is_empty() || url.contains("://") => None,
            _ => Some(Self::Folder(url.into())),
        };
        location.ok_or_else(|| Error::Location(without_user(url)))
    }

    /// Opens the store; a missing folder is created. The error is a message that says what prevents
    /// it.
    pub async fn open(&self, variables: &[(String, String)]) -> Result<Arc<dyn ObjectStore>, String> {
        match self {
            Self::Memory => Ok(Arc::new(InMemory::new())),
            Self::Folder(folder) => {
                tokio::fs::create_dir_all(folder).await.map_err(|error| error.to_string())?;
                // An object is durable before it is reported: a version or an event that a caller has seen must
                // outlive a power cut, not only the process.
                let local = LocalFileSystem::new_with_prefix(folder).map_err(|error| error.to_string())?;
                Ok(Arc::new(local.with_fsync(true)))
            }
            Self::Bucket { name, prefix } => {
                let bucket = open_bucket(name, variables, Retries::On)?;
                Ok(match prefix.is_root() {
                    true => bucket,
                    false => Arc::new(PrefixStore::new(bucket, prefix.clone())),
                })
            }
        }
    }

    /// Asks a bucket once, without retries, why it does not respond; none where it does, or where nothing is known.
    pub async fn silence(&self, variables: &[(String, String)]) -> Option<String> {
        let Self::Bucket { name, prefix } = self else { return None };
        let bucket = open_bucket(name, variables, Retries::Off).ok()?;
        let object = prefix.clone().join("probe");
        match tokio::time::timeout(PROBE_TIMEOUT, bucket.head(&object)).await.ok()? {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => None,
            Err(error) => Some(causes(&error)),
        }
    }
}

/// `bucket/prefix`, the prefix left out or with a slash at its end.
fn bucket(rest: &str) -> Option<StoreLocation> {
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let of_form = (3..=63).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte));
    let prefix = Path::parse(prefix).ok()?;
    of_form.then(|| StoreLocation::Bucket { name: name.to_owned(), prefix })
}

/// The text without the part before an `@`, which may be a password.
fn without_user(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) if rest.contains('@') => {
            let after = rest.rsplit_once('@').map_or("", |(_, after)| after);
            format!("{scheme}://(hidden)@{after}")
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket_of(url: &str) -> (String, String) {
        match StoreLocation::parse(url).unwrap() {
            StoreLocation::Bucket { name, prefix } => (name, prefix.to_string()),
            place => panic!("{url} is {place:?}"),
        }
    }

    #[test]
    fn a_bucket_has_a_prefix_or_none() {
        let is = |url, name: &str, prefix: &str| {
            assert_eq!(bucket_of(url), (name.to_owned(), prefix.to_owned()), "{url}");
        };
        is("s3://digits", "digits", "");
        is("s3://digits/", "digits", "");
        is("s3://digits.eu-1/fleet/a/", "digits.eu-1", "fleet/a");
    }

    #[test]
    fn an_invalid_location_is_rejected() {
        for url in
            ["", "s3:", "s3://", "s3:///x", "s3://ab", "s3://Digits", "s3://digits/a//b", "gs://digits/x"]
        {
            assert!(matches!(StoreLocation::parse(url), Err(Error::Location(_))), "{url:?}");
        }
        assert_eq!(StoreLocation::parse("a:b").unwrap(), StoreLocation::Folder("a:b".into()));
    }

    #[test]
    fn a_password_in_a_location_is_hidden() {
        let settings = StoreLocation::parse("s3://name:word@digits/prefix").unwrap_err().to_string();
        assert!(settings.contains("s3://(hidden)@digits/prefix") && !settings.contains("word"), "{settings}");
    }
}
