//! What a finished run publishes in the registry: its version and its aliases. A crash may follow any step, so each
//! step can be repeated.

use crate::{
    compute::LIBTORCH_VERSION,
    data::dataset::Dims,
    ids::{Alias, ModelName, RunId, Version},
    registry::{self, AliasUpdate, AuditNote, Draft, Manifest, Precondition, Registry},
    train::{BestEpoch, TrainConfig},
};

/// The author of a run's alias updates: this program.
const SELF: &str = "digitd";

/// A run whose best epoch becomes a version.
pub struct Candidate<'a> {
    pub run: RunId,
    pub config: &'a TrainConfig,
    pub dims: Dims,
    /// Class names, one per class; empty if the classes are numbered.
    pub class_names: &'a [String],
    pub parameters: u32,
    /// SHA-256 of the training images.
    pub digest: &'a str,
}

/// Publishes the best epoch and moves the aliases.
pub async fn publish(
    registry: &Registry,
    candidate: Candidate<'_>,
    best: BestEpoch,
) -> Result<Version, registry::Error> {
    let config = candidate.config;
    let draft = Draft {
        network: config.network.clone(),
        height: candidate.dims.height,
        width: candidate.dims.width,
        classes: candidate.dims.classes,
        class_names: candidate.class_names.to_vec(),
        total_parameters: candidate.parameters.into(),
        config: Some(config.clone()),
        run_id: Some(candidate.run),
        epoch: Some(best.epoch),
        train: Some(best.train),
        validation: best.validation,
        dataset_digest: Some(candidate.digest.to_owned()),
        parent: config.initial.clone(),
        precision: config.precision,
        imported: None,
        libtorch_version: LIBTORCH_VERSION.to_owned(),
    };
    let manifest = registry.publish(&config.model, draft, best.weights).await?;
    move_aliases(registry, candidate.run, &manifest).await?;
    Ok(manifest.version)
}

/// Moves `latest` and the alias that the request names to a run's version, unless that was done before: people may
/// have moved them since.
pub async fn move_aliases(
    registry: &Registry,
    run: RunId,
    manifest: &Manifest,
) -> Result<(), registry::Error> {
    let reason = format!("run {run}");
    advance_latest(registry, manifest, &AuditNote::new(SELF, reason.as_str())).await?;
    let requested = manifest.config.as_ref().and_then(|config| config.set_alias.as_ref());
    let Some(alias) = requested.filter(|alias| **alias != Alias::latest()) else { return Ok(()) };
    if was_moved(registry, &manifest.model, alias, &reason).await? {
        return Ok(());
    }
    let note = AuditNote::new(SELF, reason);
    let to = AliasUpdate { version: manifest.version, expected: Precondition::Anything, note };
    registry.set_alias(&manifest.model, alias, to).await.map(drop)
}

/// Moves `latest` forward only: if two runs end together, the newer version stays.
pub async fn advance_latest(
    registry: &Registry,
    manifest: &Manifest,
    note: &AuditNote,
) -> Result<(), registry::Error> {
    let (model, latest) = (&manifest.model, Alias::latest());
    loop {
        let expected = match registry.alias(model, &latest).await {
            Ok(current) if current.version >= manifest.version => return Ok(()),
            Ok(current) => Precondition::Version(current.version),
            Err(registry::Error::AliasNotFound { .. }) => Precondition::Unset,
            Err(error) => return Err(error),
        };
        let to = AliasUpdate { version: manifest.version, expected, note: note.clone() };
        match registry.set_alias(model, &latest, to).await {
            Err(registry::Error::AliasMoved { .. }) => {}
            moved => return moved.map(drop),
        }
    }
}

async fn was_moved(
    registry: &Registry,
    model: &ModelName,
    alias: &Alias,
    reason: &str,
) -> Result<bool, registry::Error> {
    match registry.alias_history(model, alias).await {
        Ok(history) => Ok(history.iter().any(|assignment| assignment.reason == reason)),
        Err(registry::Error::AliasNotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
