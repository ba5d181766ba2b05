//! Models as a whole, and the resolution of references.

use object_store::path::Path;

use super::{Error, ModelRef, Registry, VersionPage, VersionSelector};
use crate::ids::{Alias, ModelName, Version};

/// The summary of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSummary {
    pub name: ModelName,
    pub newest: Version,
    pub versions: usize,
    /// The aliases and their versions, by name.
    pub aliases: Vec<(Alias, Version)>,
}

impl Registry {
    /// Every model that has a version, by name.
    pub async fn models(&self) -> Result<Vec<ModelSummary>, Error> {
        let mut models = Vec::new();
        for name in self.model_names().await? {
            let all = VersionPage { size: usize::MAX, before: None };
            let versions = match self.versions(&name, all).await {
                Ok(page) => page.items,
                // The folder has aliases without versions, or is none of the registry's.
                Err(Error::ModelNotFound(_)) => continue,
                Err(error) => return Err(error),
            };
            let Some(newest) = versions.first().map(|newest| newest.version) else { continue };
            let aliases = self.aliases(&name).await?;
            models.push(ModelSummary { name, newest, versions: versions.len(), aliases });
        }
        Ok(models)
    }

    /// The version that a reference means now.
    pub async fn resolve(&self, model: &ModelRef) -> Result<(ModelName, Version), Error> {
        let version = match &model.which {
            VersionSelector::Version(version) => *version,
            VersionSelector::Alias(alias) => self.follow(&model.name, alias).await?,
            VersionSelector::Default => match self.current(&model.name, &Alias::production()).await? {
                Some(current) => current.version,
                None => {
                    let newest = self.newest(&model.name).await?;
                    newest.ok_or_else(|| Error::ModelNotFound(model.name.clone()))?
                }
            },
        };
        Ok((model.name.clone(), version))
    }

    /// The names of all models, sorted, those without a version included.
    pub async fn model_names(&self) -> Result<Vec<ModelName>, Error> {
        let names = self.store.names(&Path::from("models")).await?;
        let mut names: Vec<ModelName> = names.iter().filter_map(|name| name.parse().ok()).collect();
        names.sort();
        Ok(names)
    }

    /// Resolves an alias; the error for a missing model says that the model is missing.
    async fn follow(&self, model: &ModelName, alias: &Alias) -> Result<Version, Error> {
        match self.alias(model, alias).await {
            Ok(current) => Ok(current.version),
            Err(Error::AliasNotFound { .. }) if self.newest(model).await?.is_none() => {
                Err(Error::ModelNotFound(model.clone()))
            }
            Err(error) => Err(error),
        }
    }
}
