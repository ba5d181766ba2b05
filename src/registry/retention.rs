//! Retention: deletes the versions beyond the newest ones that are kept.

use std::num::NonZeroUsize;

use super::{Error, Manifest, Registry, VersionPage};
use crate::ids::{ModelName, Version};

impl Registry {
    /// Deletes the versions of a model beyond its newest `keep` that no alias points to, but for
    /// those that `spared` holds; returns the deleted numbers. A version that cannot be read is neither
    /// counted nor deleted.
    pub async fn prune(
        &self,
        model: &ModelName,
        keep: NonZeroUsize,
        spared: impl Fn(&Manifest) -> bool,
    ) -> Result<Vec<Version>, Error> {
        let all = VersionPage { size: usize::MAX, before: None };
        let versions = match self.versions(model, all).await {
            Ok(page) => page.items,
            Err(Error::ModelNotFound(_)) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let surplus = versions.iter().skip(keep.get()).filter(|manifest| !spared(manifest));
        let surplus: Vec<Version> = surplus.map(|manifest| manifest.version).collect();
        if surplus.is_empty() {
            return Ok(surplus);
        }
        // This check only saves work: the deletion itself checks again whether an alias points to the version.
        let aliased = self.aliases(model).await?;
        let mut deleted = Vec::new();
        for version in surplus {
            if aliased.iter().any(|(_, to)| *to == version) {
                continue;
            }
            match self.delete_version(model, version).await {
                Ok(()) => deleted.push(version),
                // An alias was moved to it, or another server deleted it first.
                Err(Error::VersionAliased { .. } | Error::VersionNotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(deleted)
    }
}
