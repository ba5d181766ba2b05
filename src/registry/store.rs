//! The few operations that the registry needs of an object store, with limits and paths in errors.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, path::Path};

use super::{Error, location::StoreLocation};

/// The longest time in which the first write to a store must succeed.
const FIRST_RESPONSE: Duration = Duration::from_secs(10);

/// An object store and its location.
#[derive(Debug, Clone)]
pub(super) struct Store {
    inner: Arc<dyn ObjectStore>,
    url: Arc<str>,
}

/// The outcome of a put-if-absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PutOutcome {
    Created,
    /// An object exists already, and was left unchanged.
    AlreadyExists,
}

impl Store {
    /// Opens a store and writes to it once, so that one that cannot be written is reported at the start
    /// and not after an hour of training.
    pub async fn open(url: &str, variables: impl Iterator<Item = (String, String)>) -> Result<Self, Error> {
        let location = StoreLocation::parse(url)?;
        let variables: Vec<_> = variables.collect();
        let unwritable = |message: String| Error::Unwritable { url: url.to_owned(), message };
        let store = Self { inner: location.open(&variables).await.map_err(unwritable)?, url: url.into() };
        match tokio::time::timeout(FIRST_RESPONSE, store.check()).await {
            Ok(checked) => checked.map_err(unwritable)?,
            Err(_) => {
                let silence = format!("it did not respond within {FIRST_RESPONSE:?}");
                let cause = location.silence(&variables).await;
                return Err(unwritable(cause.map_or(silence.clone(), |cause| format!("{silence}: {cause}"))));
            }
        }
        Ok(store)
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// The object, or none where there is none. An object above `limit` bytes is corrupt: it is
    /// not read.
    pub async fn get(&self, path: &Path, limit: usize) -> Result<Option<Bytes>, Error> {
        let result = match self.inner.get(path).await {
            Ok(result) => result,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(source) => return Err(failed("read", path)(source)),
        };
        if result.meta.size > limit as u64 {
            let message = format!("it has {} bytes, and at most {limit} make sense", result.meta.size);
            return Err(Error::Corrupt { path: path.to_string(), message });
        }
        result.bytes().await.map(Some).map_err(failed("read", path))
    }

    /// Writes the complete object, in place of an existing one; readers see the old or the new one.
    pub async fn put(&self, path: &Path, bytes: impl Into<PutPayload>) -> Result<(), Error> {
        self.inner.put(path, bytes.into()).await.map(drop).map_err(failed("write", path))
    }

    /// Writes the object if there is none, or if the existing one has the same bytes: over a network
    /// a write may have succeeded although its response was lost.
    pub async fn put_if_absent_or_same(&self, path: &Path, bytes: Vec<u8>) -> Result<PutOutcome, Error> {
        let bytes = Bytes::from(bytes);
        match self.put_if_absent(path, bytes.clone()).await? {
            PutOutcome::Created => Ok(PutOutcome::Created),
            PutOutcome::AlreadyExists => match self.get(path, bytes.len()).await {
                Ok(Some(found)) if found == bytes => Ok(PutOutcome::Created),
                Ok(Some(_) | None) | Err(Error::Corrupt { .. }) => Ok(PutOutcome::AlreadyExists),
                Err(error) => Err(error),
            },
        }
    }

    /// Writes the object if there is none, whatever the existing one holds.
    pub async fn put_if_absent(
        &self,
        path: &Path,
        bytes: impl Into<PutPayload>,
    ) -> Result<PutOutcome, Error> {
        let options = PutOptions::from(PutMode::Create);
        match self.inner.put_opts(path, bytes.into(), options).await {
            Ok(_) => Ok(PutOutcome::Created),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(PutOutcome::AlreadyExists),
            Err(source) => Err(failed("write", path)(source)),
        }
    }

    /// Removes the object; a missing one is no error.
    pub async fn delete(&self, path: &Path) -> Result<(), Error> {
        match self.inner.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(failed("delete", path)(source)),
        }
    }

    /// The names directly below a folder: objects and folders. Empty if there is no such folder.
    pub async fn names(&self, folder: &Path) -> Result<Vec<String>, Error> {
        let listing = match self.inner.list_with_delimiter(Some(folder)).await {
            Ok(listing) => listing,
            Err(object_store::Error::NotFound { .. }) => return Ok(Vec::new()),
            Err(source) => return Err(failed("list", folder)(source)),
        };
        let objects = listing.objects.into_iter().map(|object| object.location);
        let paths = objects.chain(listing.common_prefixes);
        Ok(paths.filter_map(|path| path.filename().map(str::to_owned)).collect())
    }

    /// Every object below a folder, and when it was last written. Empty if there is no such folder.
    pub async fn below(&self, folder: &Path) -> Result<Vec<(Path, DateTime<Utc>)>, Error> {
        let objects = self.inner.list(Some(folder)).map_ok(|object| (object.location, object.last_modified));
        match objects.try_collect().await {
            Ok(all) => Ok(all),
            Err(object_store::Error::NotFound { .. }) => Ok(Vec::new()),
            Err(source) => Err(failed("list", folder)(source)),
        }
    }

    /// When the object was last written; none if it does not exist.
    pub async fn modified(&self, path: &Path) -> Result<Option<DateTime<Utc>>, Error> {
        match self.inner.head(path).await {
            Ok(meta) => Ok(Some(meta.last_modified)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(failed("read", path)(source)),
        }
    }

    /// Returns the same store with a delay before every call.
    #[cfg(test)]
    pub fn slowed(&self, wait: Duration) -> Self {
        let config = object_store::throttle::ThrottleConfig {
            wait_delete_per_call: wait,
            wait_get_per_call: wait,
            wait_list_per_call: wait,
            wait_list_with_delimiter_per_call: wait,
            wait_put_per_call: wait,
            ..Default::default()
        };
        let inner = Arc::new(object_store::throttle::ThrottledStore::new(self.inner.clone(), config));
        Self { inner, url: self.url.clone() }
    }

    /// Writes an object, tries to write it again and removes it. The error says what failed.
    async fn check(&self) -> Result<(), String> {
        let probe = Path::from(format!("write-check-{}", uuid::Uuid::now_v7()));
        let said = |error: Error| error.to_string();
        self.put_if_absent(&probe, Bytes::new()).await.map_err(said)?;
        let again = self.put_if_absent(&probe, Bytes::new()).await.map_err(said)?;
        let deleted = self.delete(&probe).await.map_err(said);
        match again {
            PutOutcome::AlreadyExists => deleted,
            // Some S3-compatible stores ignore the condition, so that two servers would overwrite each other's
            // versions.
            PutOutcome::Created => Err("it overwrites what must stay: it ignores If-None-Match".to_owned()),
        }
    }
}

/// The form of everything that the registry stores as text.
pub(super) fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("what the registry keeps has string keys and finite numbers")
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(object_store::Error) -> Error {
    let path = path.to_string();
    move |source| Error::Store { action, path, source }
}
