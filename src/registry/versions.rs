//! Versions: publishing, reading and deleting them.

use std::pin::pin;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;

use super::{
    CONCURRENT_READS, Error, Manifest, Registry,
    manifest::{Draft, FORMAT_VERSION, ManifestEntry},
    store::{PutOutcome, json},
};
use crate::{
    checkpoint,
    ids::{ModelName, RunId, Version},
};

/// The size limit of a weights file in bytes.
pub const MAX_WEIGHTS_BYTES: usize = checkpoint::import::MAX_BYTES;

const MAX_MANIFEST_BYTES: usize = 1 << 20;

/// The time after which the server of an unfinished deletion counts as dead.
const DELETING: TimeDelta = TimeDelta::minutes(2);

/// A page of a list of versions.
#[derive(Debug, Clone, Copy)]
pub struct VersionPage {
    pub size: usize,
    /// Only versions older than this one; none begins with the newest.
    pub before: Option<Version>,
}

/// One page of a list, newest first.
#[derive(Debug, Clone)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Whether there are more items after the last one.
    pub more: bool,
}

impl Registry {
    /// Publishes a new version of `model`. Its number is one above every number ever used, so a
    /// publisher that dies in between leaves a gap, never an incomplete version.
    pub async fn publish(
        &self,
        model: &ModelName,
        draft: Draft,
        weights: Vec<u8>,
    ) -> Result<Manifest, Error> {
        if weights.len() > MAX_WEIGHTS_BYTES {
            return Err(Error::TooLarge { what: "weights", bytes: weights.len(), limit: MAX_WEIGHTS_BYTES });
        }
        let weights = Bytes::from(weights);
        let sha256 = sha256(weights.clone()).await;
        let mut number = self.numbers(model).await?.pop().map_or(Version::FIRST, Version::next);
        let mut manifest = draft.into_manifest(model.clone(), number, (sha256, weights.len() as u64));
        loop {
            manifest.version = number;
            // The weights claim the number: of two publishers one creates them, and the other's
            // bytes are never those that the first one's manifest describes.
            if self.store.put_if_absent(&weights_path(model, number), weights.clone()).await?
                == PutOutcome::Created
            {
                let entry = ManifestEntry::Published(Box::new(manifest.clone()));
                let path = manifest_path(model, number);
                // It was lost to a sweep that treated this folder as abandoned; the next number is free.
                if self.store.put_if_absent_or_same(&path, json(&entry)).await? == PutOutcome::Created {
                    self.changed();
                    return Ok(manifest);
                }
            }
            number = number.next();
        }
    }

    /// Returns the manifest of a version.
    pub async fn manifest(&self, model: &ModelName, version: Version) -> Result<Manifest, Error> {
        match self.entry(model, version).await? {
            Some(ManifestEntry::Published(manifest)) => Ok(*manifest),
            Some(ManifestEntry::Deleted { .. }) => Err(self.no_version(model, version)),
            None if self.numbers(model).await?.is_empty() => Err(Error::ModelNotFound(model.clone())),
            None => Err(self.no_version(model, version)),
        }
    }

    /// The weights of a version, checked against the manifest by size and SHA-256.
    pub async fn weights(&self, manifest: &Manifest) -> Result<Vec<u8>, Error> {
        let path = weights_path(&manifest.model, manifest.version);
        let corrupt = |message: String| Error::Corrupt { path: path.to_string(), message };
        let Some(bytes) = self.store.get(&path, MAX_WEIGHTS_BYTES).await? else {
            // The weights were deleted between the two reads, or lost; reading the manifest again distinguishes
            // the two.
            self.manifest(&manifest.model, manifest.version).await?;
            return Err(corrupt("it is missing".to_owned()));
        };
        if bytes.len() as u64 != manifest.weights_bytes {
            return Err(corrupt(format!("it has {} bytes, not {}", bytes.len(), manifest.weights_bytes)));
        }
        let found = sha256(bytes.clone()).await;
        if found != manifest.weights_sha256 {
            return Err(corrupt(format!("its SHA-256 is {found}, not {}", manifest.weights_sha256)));
        }
        Ok(bytes.into())
    }

    /// A part of a model's versions, newest first. A damaged one is left out and logged.
    pub async fn versions(&self, model: &ModelName, page: VersionPage) -> Result<Page<Manifest>, Error> {
        let mut numbers = self.numbers(model).await?;
        if numbers.is_empty() {
            return Err(Error::ModelNotFound(model.clone()));
        }
        numbers.retain(|number| page.before.is_none_or(|before| *number < before));
        let mut items = Vec::new();
        let read = stream::iter(numbers.into_iter().rev()).map(|number| self.list_entry(model, number));
        let mut read = pin!(read.buffered(CONCURRENT_READS));
        while let Some(entry) = read.try_next().await? {
            if let Some(ManifestEntry::Published(manifest)) = entry {
                if items.len() == page.size {
                    return Ok(Page { items, more: true });
                }
                items.push(*manifest);
            }
        }
        Ok(Page { items, more: false })
    }

    /// The newest version that is not deleted.
    pub async fn newest(&self, model: &ModelName) -> Result<Option<Version>, Error> {
        for number in self.numbers(model).await?.into_iter().rev() {
            match self.entry(model, number).await {
                Ok(Some(ManifestEntry::Published(_))) => return Ok(Some(number)),
                Ok(Some(ManifestEntry::Deleted { .. }) | None) => {}
                // An older version is not used in its place, since nobody chose it.
                Err(Error::Corrupt { path, message }) => {
                    let message = format!(
                        "{message}; it may be the newest version, {number}, of model {:?}: restore it, name another \
                         version, or point alias production at one",
                        model.as_str()
                    );
                    return Err(Error::Corrupt { path, message });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// The version that a run published, among those made since `since`.
    pub async fn published_by(
        &self,
        model: &ModelName,
        run: RunId,
        since: DateTime<Utc>,
    ) -> Result<Option<Manifest>, Error> {
        for number in self.numbers(model).await?.into_iter().rev() {
            match self.entry(model, number).await? {
                Some(ManifestEntry::Published(manifest)) if manifest.run_id == Some(run) => {
                    return Ok(Some(*manifest));
                }
                Some(ManifestEntry::Published(manifest)) if manifest.created < since => return Ok(None),
                Some(ManifestEntry::Published(_) | ManifestEntry::Deleted { .. }) | None => {}
            }
        }
        Ok(None)
    }

    /// Deletes a version that no alias points to. Its number is not used again. Of servers that
    /// delete it at the same time, one succeeds; for the others it does not exist.
    pub async fn delete_version(&self, model: &ModelName, version: Version) -> Result<(), Error> {
        let _alone = self.changes.lock().await;
        let manifest = self.manifest(model, version).await?;
        self.check_unaliased(model, version).await?;
        let claim = deletion_path(model, version);
        if self.store.put_if_absent(&claim, Bytes::new()).await? == PutOutcome::AlreadyExists {
            let since = self.store.modified(&claim).await?;
            if since.is_none_or(|since| Utc::now() - since < DELETING) {
                return Err(self.no_version(model, version));
            }
            // Its server died during the deletion.
            self.store.put(&claim, Bytes::new()).await?;
        }
        let deleted = self.delete_alone(manifest).await;
        let freed = self.store.delete(&claim).await;
        deleted.and(freed)
    }

    async fn delete_alone(&self, manifest: Manifest) -> Result<(), Error> {
        let (model, version) = (manifest.model.clone(), manifest.version);
        // It may have been deleted between the first read and the claim.
        self.manifest(&model, version).await?;
        let path = manifest_path(&model, version);
        self.store.put(&path, json(&ManifestEntry::deleted())).await?;
        // Another server may have moved an alias to it in between; then the version is restored.
        if let Err(aliased) = self.check_unaliased(&model, version).await {
            self.store.put(&path, json(&ManifestEntry::Published(Box::new(manifest)))).await?;
            return Err(aliased);
        }
        self.changed();
        self.store.delete(&weights_path(&model, version)).await
    }

    /// Every number that was ever used, ascending.
    async fn numbers(&self, model: &ModelName) -> Result<Vec<Version>, Error> {
        let names = self.store.names(&versions_path(model)).await?;
        let mut numbers: Vec<Version> = names.iter().filter_map(|name| number(name)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Reads a version for a list, in which one that cannot be read must not hide the others.
    async fn list_entry(&self, model: &ModelName, version: Version) -> Result<Option<ManifestEntry>, Error> {
        match self.entry(model, version).await {
            Err(error @ (Error::Corrupt { .. } | Error::UnknownFormat { .. })) => {
                tracing::warn!(%model, %version, %error, "left out of the list");
                Ok(None)
            }
            entry => entry,
        }
    }

    pub(super) async fn entry(
        &self,
        model: &ModelName,
        version: Version,
    ) -> Result<Option<ManifestEntry>, Error> {
        let path = manifest_path(model, version);
        let Some(bytes) = self.store.get(&path, MAX_MANIFEST_BYTES).await? else { return Ok(None) };
        let corrupt = |message: String| Error::Corrupt { path: path.to_string(), message };
        // The format is checked first, since a manifest of another format may lack fields of this one.
        let format: FormatHeader =
            serde_json::from_slice(&bytes).map_err(|error| corrupt(error.to_string()))?;
        if format.format_version != FORMAT_VERSION {
            let (path, found) = (path.to_string(), format.format_version);
            return Err(Error::UnknownFormat { path, found, known: FORMAT_VERSION });
        }
        let entry: ManifestEntry =
            serde_json::from_slice(&bytes).map_err(|error| corrupt(error.to_string()))?;
        match &entry {
            ManifestEntry::Published(manifest) if manifest.model != *model || manifest.version != version => {
                let message = format!("it tells of {} version {}", manifest.model, manifest.version);
                Err(corrupt(message))
            }
            ManifestEntry::Published(manifest) if !manifest.has_size() => {
                Err(corrupt("its images or classes are of no size that makes sense".to_owned()))
            }
            ManifestEntry::Published(_) | ManifestEntry::Deleted { .. } => Ok(Some(entry)),
        }
    }

    fn no_version(&self, model: &ModelName, version: Version) -> Error {
        Error::VersionNotFound { model: model.clone(), version }
    }
}

#[derive(serde::Deserialize)]
struct FormatHeader {
    format_version: u32,
}

/// Computes the digest on a thread that may block, since a large file takes long.
async fn sha256(bytes: Bytes) -> String {
    let hashed = tokio::task::spawn_blocking(move || checkpoint::sha256(&bytes));
    hashed.await.expect("hashing cannot panic")
}

/// The version of a folder by its name. Each has one spelling: a folder named 007 is not version 7.
pub(super) fn number(folder: &str) -> Option<Version> {
    let version = Version::try_from(folder.parse::<i64>().ok()?).ok()?;
    (version.to_string() == folder).then_some(version)
}

pub(super) fn versions_path(model: &ModelName) -> Path {
    Path::from_iter(["models", model.as_str(), "versions"])
}

pub(super) fn manifest_path(model: &ModelName, version: Version) -> Path {
    versions_path(model).join(version.to_string()).join("manifest.json")
}

pub(super) fn weights_path(model: &ModelName, version: Version) -> Path {
    versions_path(model).join(version.to_string()).join("weights.safetensors")
}

/// The object that exists while a version is being deleted.
pub(super) fn deletion_path(model: &ModelName, version: Version) -> Path {
    versions_path(model).join(version.to_string()).join("deletion")
}
