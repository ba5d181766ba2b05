//! The few operations that the registry needs of an object store, with limits and paths in errors.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use object_store::{
    ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, local::LocalFileSystem, memory::InMemory,
    path::Path,
};

use super::Error;

/// An object store and where it lies.
#[derive(Debug, Clone)]
pub(super) struct Store {
    inner: Arc<dyn ObjectStore>,
    url: Arc<str>,
}

/// What became of a put-if-absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Created {
    New,
    /// Something lies there already, and was left as it is.
    Exists,
}

impl Store {
    /// Opens a folder (made where it is missing) or memory, and writes to it once, so that a store
    /// that cannot be written is told of at the start and not after an hour of training.
    pub async fn open(url: &str) -> Result<Self, Error> {
        let inner = match location(url)? {
            Location::Memory => Arc::new(InMemory::new()) as Arc<dyn ObjectStore>,
            Location::Folder(folder) => {
                let unwritable = |message: String| Error::Unwritable { url: url.to_owned(), message };
                tokio::fs::create_dir_all(&folder).await.map_err(|error| unwritable(error.to_string()))?;
                // Durable before it is told: a version or an event that somebody was shown must
                // outlive a power cut, not only the process.
                let local = LocalFileSystem::new_with_prefix(&folder)
                    .map_err(|error| unwritable(error.to_string()))?
                    .with_fsync(true);
                Arc::new(local)
            }
        };
        let store = Self { inner, url: url.into() };
        store.check_writable().await?;
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

    /// Writes the object whole, over what lies there; readers see the old or the new one.
    pub async fn put(&self, path: &Path, bytes: impl Into<PutPayload>) -> Result<(), Error> {
        self.inner.put(path, bytes.into()).await.map(drop).map_err(failed("write", path))
    }

    /// Writes the object whole if nothing lies there.
    pub async fn create(&self, path: &Path, bytes: impl Into<PutPayload>) -> Result<Created, Error> {
        let options = PutOptions::from(PutMode::Create);
        match self.inner.put_opts(path, bytes.into(), options).await {
            Ok(_) => Ok(Created::New),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Created::Exists),
            Err(source) => Err(failed("write", path)(source)),
        }
    }

    /// Removes the object; one that is not there is no error.
    pub async fn delete(&self, path: &Path) -> Result<(), Error> {
        match self.inner.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(failed("delete", path)(source)),
        }
    }

    /// The names right below a folder: objects and folders. Empty where there is no such folder.
    pub async fn names(&self, folder: &Path) -> Result<Vec<String>, Error> {
        let listed = match self.inner.list_with_delimiter(Some(folder)).await {
            Ok(listed) => listed,
            Err(object_store::Error::NotFound { .. }) => return Ok(Vec::new()),
            Err(source) => return Err(failed("list", folder)(source)),
        };
        let objects = listed.objects.into_iter().map(|object| object.location);
        let paths = objects.chain(listed.common_prefixes);
        Ok(paths.filter_map(|path| path.filename().map(str::to_owned)).collect())
    }

    /// When the object was last written, where it is there.
    pub async fn modified(&self, path: &Path) -> Result<Option<chrono::DateTime<chrono::Utc>>, Error> {
        match self.inner.head(path).await {
            Ok(meta) => Ok(Some(meta.last_modified)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(failed("read", path)(source)),
        }
    }

    async fn check_writable(&self) -> Result<(), Error> {
        let probe = Path::from(format!("write-check-{}", uuid::Uuid::now_v7()));
        let written = match self.put(&probe, Bytes::new()).await {
            Ok(()) => self.delete(&probe).await,
            Err(error) => Err(error),
        };
        written.map_err(|error| Error::Unwritable { url: self.url.to_string(), message: error.to_string() })
    }
}

enum Location {
    Memory,
    Folder(PathBuf),
}

fn location(url: &str) -> Result<Location, Error> {
    match url.split_once(':') {
        Some(("memory", "" | "//")) => Ok(Location::Memory),
        Some(("file", rest)) => match rest.strip_prefix("//").unwrap_or(rest) {
            path if path.starts_with('/') => Ok(Location::Folder(path.into())),
            _ => Err(Error::Location(url.to_owned())),
        },
        _ if url.is_empty() || url.contains("://") => Err(Error::Location(url.to_owned())),
        _ => Ok(Location::Folder(url.into())),
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(object_store::Error) -> Error {
    let path = path.to_string();
    move |source| Error::Store { action, path, source }
}
