//! The few operations that the registry needs of an object store, with limits and paths in errors.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::{
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion, path::Path,
};

use super::{Error, location::StoreLocation, staging};

/// The longest time in which the first write to a store must succeed.
const FIRST_RESPONSE: Duration = Duration::from_secs(10);

/// An object store and its location.
#[derive(Debug, Clone)]
pub(super) struct Store {
    inner: Arc<dyn ObjectStore>,
    url: Arc<str>,
    /// The folder, if the store is one.
    folder: Option<Arc<std::path::Path>>,
}

/// The outcome of a put-if-absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PutOutcome {
    Created,
    /// An object exists already, and was left unchanged.
    AlreadyExists,
}

/// What tells one write of an object from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// When the object was written, by the clock of the store.
    pub modified: DateTime<Utc>,
    tag: Option<String>,
    version: Option<String>,
}

/// The outcome of replacing an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplaceOutcome {
    Replaced,
    /// Another server wrote the object first, and it was left unchanged.
    Changed,
}

impl Stamp {
    fn of(meta: &ObjectMeta) -> Self {
        Self { modified: meta.last_modified, tag: meta.e_tag.clone(), version: meta.version.clone() }
    }
}

impl Store {
    /// Opens a store and writes to it once, so that one that cannot be written is reported at the start
    /// and not after an hour of training.
    pub async fn open(url: &str, variables: impl Iterator<Item = (String, String)>) -> Result<Self, Error> {
        let location = StoreLocation::parse(url)?;
        let variables: Vec<_> = variables.collect();
        let unwritable = |message: String| Error::Unwritable { url: url.to_owned(), message };
        let inner = location.open(&variables).await.map_err(unwritable)?;
        let store = Self { inner, url: url.into(), folder: location.folder().map(Arc::from) };
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
        Ok(self.get_stamped(path, limit).await?.map(|(bytes, _)| bytes))
    }

    /// The object as `get` returns it, and the stamp of the write that made it.
    pub async fn get_stamped(&self, path: &Path, limit: usize) -> Result<Option<(Bytes, Stamp)>, Error> {
        let result = match self.inner.get(path).await {
            Ok(result) => result,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(source) => return Err(failed("read", path)(source)),
        };
        if result.meta.size > limit as u64 {
            let message = format!("it has {} bytes, and at most {limit} make sense", result.meta.size);
            return Err(Error::Corrupt { path: path.to_string(), message });
        }
        let stamp = Stamp::of(&result.meta);
        result.bytes().await.map(|bytes| Some((bytes, stamp))).map_err(failed("read", path))
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

    /// Writes the object in place of the one with this stamp. A folder can only compare the stamps before it writes.
    pub async fn replace(
        &self,
        path: &Path,
        bytes: impl Into<PutPayload>,
        stamp: &Stamp,
    ) -> Result<ReplaceOutcome, Error> {
        let bytes = bytes.into();
        let known = UpdateVersion { e_tag: stamp.tag.clone(), version: stamp.version.clone() };
        let options = PutOptions::from(PutMode::Update(known));
        match self.inner.put_opts(path, bytes.clone(), options).await {
            Ok(_) => Ok(ReplaceOutcome::Replaced),
            Err(object_store::Error::Precondition { .. } | object_store::Error::NotFound { .. }) => {
                Ok(ReplaceOutcome::Changed)
            }
            Err(object_store::Error::NotImplemented { .. }) => {
                if self.stamp(path).await?.as_ref() != Some(stamp) {
                    return Ok(ReplaceOutcome::Changed);
                }
                self.put(path, bytes).await.map(|()| ReplaceOutcome::Replaced)
            }
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

    /// Gives an object another path.
    pub async fn rename(&self, from: &Path, to: &Path) -> Result<(), Error> {
        self.inner.rename(from, to).await.map_err(failed("move", from))
    }

    /// Removes the files in which a folder's writes gathered until they were cut short, if they are older than
    /// `before`; returns their number. Other kinds of stores have none.
    pub async fn sweep_staging(&self, before: DateTime<Utc>) -> Result<usize, Error> {
        let Some(folder) = self.folder.clone() else { return Ok(0) };
        let swept = tokio::task::spawn_blocking(move || staging::sweep(&folder, before.into()));
        swept.await.expect("removing files cannot panic").map_err(|source| {
            let source = object_store::Error::Generic { store: "folder", source: source.into() };
            failed("sweep", &Path::default())(source)
        })
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
        Ok(self.stamp(path).await?.map(|stamp| stamp.modified))
    }

    /// The stamp of the object without the object; none if it does not exist.
    pub async fn stamp(&self, path: &Path) -> Result<Option<Stamp>, Error> {
        match self.inner.head(path).await {
            Ok(meta) => Ok(Some(Stamp::of(&meta))),
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
        Self { inner, ..self.clone() }
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
