//! The folders of versions as one listing shows them, without reading their objects: which versions
//! there are, and the unfinished changes of servers that died.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};

use super::{
    CONCURRENT_READS, Error, Registry,
    manifest::ManifestEntry,
    store::{PutOutcome, json},
    versions::{deletion_path, manifest_path, number, versions_path, weights_path},
};
use crate::ids::{ModelName, Version};

/// When the objects of a version were last written, if they exist.
#[derive(Debug, Default)]
struct VersionFolder {
    manifest: Option<DateTime<Utc>>,
    weights: Option<DateTime<Utc>>,
    deletion: Option<DateTime<Utc>>,
}

impl Registry {
    /// The numbers of a model's versions, ascending: of those that have a manifest and weights, which a
    /// deleted one lacks. The cost does not grow with the deleted ones; whether they can be read is not checked.
    pub async fn version_numbers(&self, model: &ModelName) -> Result<Vec<Version>, Error> {
        let folders = self.folders(model).await?;
        let whole =
            folders.iter().filter(|(_, folder)| folder.manifest.is_some() && folder.weights.is_some());
        Ok(whole.map(|(number, _)| *number).collect())
    }

    /// Removes unfinished changes of servers that died before `before`; returns the number of versions
    /// concerned.
    pub async fn sweep(&self, before: DateTime<Utc>) -> Result<usize, Error> {
        let models = stream::iter(self.model_names().await?);
        let swept = models.map(|model| async move { self.sweep_model(&model, before).await });
        swept.buffered(CONCURRENT_READS).try_fold(0, async |all, swept| Ok(all + swept)).await
    }

    async fn sweep_model(&self, model: &ModelName, before: DateTime<Utc>) -> Result<usize, Error> {
        let is_old = |written: Option<DateTime<Utc>>| written.is_some_and(|written| written < before);
        let mut swept = 0;
        for (number, folder) in self.folders(model).await? {
            if folder.manifest.is_none() && is_old(folder.weights) {
                swept += usize::from(self.abandon(model, number).await?);
            }
            // The check is repeated, since another server may have continued with it after the listing.
            let claim = deletion_path(model, number);
            if is_old(folder.deletion) && is_old(self.store.modified(&claim).await?) {
                swept += usize::from(self.finish_deletion(model, number).await?);
            }
        }
        Ok(swept)
    }

    /// Abandons a version without a manifest, whose publisher died. The tombstone is written first, so that
    /// a publisher that is alive after all uses another number.
    async fn abandon(&self, model: &ModelName, number: Version) -> Result<bool, Error> {
        let tombstone = json(&ManifestEntry::deleted());
        if self.store.put_if_absent_or_same(&manifest_path(model, number), tombstone).await?
            == PutOutcome::AlreadyExists
        {
            return Ok(false);
        }
        self.store.delete(&weights_path(model, number)).await?;
        Ok(true)
    }

    /// Finishes a deletion whose server died: before its tombstone the version stays, after it the
    /// weights are deleted.
    async fn finish_deletion(&self, model: &ModelName, number: Version) -> Result<bool, Error> {
        match self.entry(model, number).await {
            Ok(Some(ManifestEntry::Deleted { .. })) => {
                self.store.delete(&weights_path(model, number)).await?
            }
            Ok(Some(ManifestEntry::Published(_)) | None) => {}
            // A person who repairs the manifest needs all other objects unchanged.
            Err(Error::Corrupt { .. } | Error::UnknownFormat { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
        self.store.delete(&deletion_path(model, number)).await?;
        Ok(true)
    }

    async fn folders(&self, model: &ModelName) -> Result<BTreeMap<Version, VersionFolder>, Error> {
        let root = versions_path(model);
        let mut folders: BTreeMap<Version, VersionFolder> = BTreeMap::new();
        for (path, written) in self.store.below(&root).await? {
            let Some(parts) = path.prefix_match(&root).map(Iterator::collect::<Vec<_>>) else { continue };
            let [folder, object] = &parts[..] else { continue };
            let Some(number) = number(folder.as_ref()) else { continue };
            let folder = folders.entry(number).or_default();
            match object.as_ref() {
                "manifest.json" => folder.manifest = Some(written),
                "weights.safetensors" => folder.weights = Some(written),
                "deletion" => folder.deletion = Some(written),
                _ => {}
            }
        }
        Ok(folders)
    }
}
