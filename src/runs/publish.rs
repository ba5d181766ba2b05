//! What a finished run publishes in the registry: its version and its aliases. A crash may follow any step, so each
//! step can be repeated.

use std::panic::AssertUnwindSafe;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::FutureExt;

use super::retry::with_retries;
use crate::{
    compute::{Error, LIBTORCH_VERSION},
    data::dataset::Dims,
    ids::{Alias, RunId, Version},
    registry::{self, AliasUpdate, Assignment, AuditNote, Draft, Manifest, Precondition, Registry},
    train::{BestEpoch, TrainConfig},
};

/// The author of a run's alias updates: this program.
const SELF: &str = "digitd";

/// A run whose best epoch becomes a version.
pub struct Candidate<'a> {
    pub run: RunId,
    pub config: &'a TrainConfig,
    /// When the run was accepted, or was resumed for the last time.
    pub began: DateTime<Utc>,
    /// The version that the run published before it was resumed.
    pub earlier: Option<Version>,
    pub dims: Dims,
    /// Class names, one per class; empty if the classes are numbered.
    pub class_names: &'a [String],
    pub parameters: u32,
    /// SHA-256 of the training images.
    pub digest: &'a str,
}

/// A version that exists, whatever became of its aliases.
pub struct PublishedVersion {
    pub manifest: Manifest,
    pub unmoved: Vec<UnmovedAlias>,
}

/// An alias that could not be moved to a new version.
#[derive(Debug, Clone)]
pub struct UnmovedAlias {
    pub alias: Alias,
    pub error: Error,
}

/// Publishes the best epoch and moves the aliases. An error means that no version is known to exist.
pub async fn publish(
    registry: &Registry,
    candidate: Candidate<'_>,
    best: BestEpoch,
) -> Result<PublishedVersion, Error> {
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
    let manifest = publish_once(registry, &candidate, draft, best.weights.into()).await?;
    // The version exists from here on: whatever happens to its aliases, the run has published it.
    let moving = AssertUnwindSafe(move_run_aliases(registry, candidate.run, &manifest)).catch_unwind();
    let unmoved = moving.await.unwrap_or_else(|panic| {
        let error = Error::panicked("moving the aliases", &*panic);
        aliases_of(&manifest).map(|alias| UnmovedAlias { alias, error: error.clone() }).collect()
    });
    Ok(PublishedVersion { manifest, unmoved })
}

/// Publishes with retries. The version of an attempt whose response was lost is found, not published again.
async fn publish_once(
    registry: &Registry,
    candidate: &Candidate<'_>,
    draft: Draft,
    weights: Bytes,
) -> Result<Manifest, Error> {
    let publishing = with_retries("the publishing of a version", |failures| {
        let (draft, weights) = (draft.clone(), weights.clone());
        async move {
            if failures > 0
                && let Some(manifest) = published_version(registry, candidate).await?
            {
                return Ok(manifest);
            }
            registry.publish(&candidate.config.model, draft, weights).await
        }
    });
    // A panic ends this run alone.
    let error = match AssertUnwindSafe(publishing).catch_unwind().await {
        Ok(Ok(manifest)) => return Ok(manifest),
        Ok(Err(error)) => error.into(),
        Err(panic) => Error::panicked("publishing a version", &*panic),
    };
    match published_version(registry, candidate).await {
        Ok(Some(manifest)) => Ok(manifest),
        Ok(None) | Err(_) => Err(error),
    }
}

/// The version that the run has published since it began.
async fn published_version(
    registry: &Registry,
    candidate: &Candidate<'_>,
) -> Result<Option<Manifest>, registry::Error> {
    let Candidate { run, config, began, earlier, .. } = candidate;
    let published = registry.published_by(&config.model, *run, *began).await?;
    Ok(published.filter(|manifest| Some(manifest.version) > *earlier))
}

/// Moves `latest` and the alias that the request names to a run's version, unless that was done before: people may
/// have moved them since.
pub async fn move_run_aliases(registry: &Registry, run: RunId, manifest: &Manifest) -> Vec<UnmovedAlias> {
    let requested = manifest.config.as_ref().and_then(|config| config.set_alias.as_ref());
    move_aliases(registry, manifest, requested, &AuditNote::new(SELF, format!("run {run}"))).await
}

/// Moves `latest`, and the alias `requested` if there is one, to a version that was just published. Returns those that
/// could not be moved, which undoes nothing.
pub async fn move_aliases(
    registry: &Registry,
    manifest: &Manifest,
    requested: Option<&Alias>,
    note: &AuditNote,
) -> Vec<UnmovedAlias> {
    let mut unmoved = Vec::new();
    let mut record = |alias: &Alias, moved: Result<(), registry::Error>| {
        if let Err(error) = moved {
            let (model, version) = (&manifest.model, manifest.version);
            tracing::error!(%model, %version, %alias, %error, "an alias was not moved to a new version");
            unmoved.push(UnmovedAlias { alias: alias.clone(), error: error.into() });
        }
    };
    let advancing = with_retries("to move an alias", |_| advance_latest(registry, manifest, note));
    record(&Alias::latest(), advancing.await);
    if let Some(alias) = requested.filter(|alias| **alias != Alias::latest()) {
        let moving = with_retries("to move an alias", |_| move_alias(registry, manifest, alias, note));
        record(alias, moving.await);
    }
    unmoved
}

/// The message about the aliases that do not point to a new version; empty if all of them do.
pub fn unmoved_message(version: Version, unmoved: &[UnmovedAlias]) -> String {
    let Some(first) = unmoved.first() else { return String::new() };
    let names: Vec<String> = unmoved.iter().map(|unmoved| format!("{:?}", unmoved.alias.as_str())).collect();
    let (aliases, verb) = (names.join(" and "), if names.len() > 1 { "were" } else { "was" });
    let error = &first.error;
    format!(
        "version {version} is published, but alias {aliases} {verb} not moved to it ({error}): repair that, then use \
         SetAlias"
    )
}

/// The aliases that a run moves to its version.
fn aliases_of(manifest: &Manifest) -> impl Iterator<Item = Alias> {
    let requested = manifest.config.as_ref().and_then(|config| config.set_alias.clone());
    std::iter::once(Alias::latest()).chain(requested.filter(|alias| *alias != Alias::latest()))
}

/// Moves `latest` forward only: if two runs end together, the newer version stays.
async fn advance_latest(
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

async fn move_alias(
    registry: &Registry,
    manifest: &Manifest,
    alias: &Alias,
    note: &AuditNote,
) -> Result<(), registry::Error> {
    let (model, version) = (&manifest.model, manifest.version);
    if was_moved(registry, manifest, alias, note).await? {
        return Ok(());
    }
    let to = AliasUpdate { version, expected: Precondition::Anything, note: note.clone() };
    registry.set_alias(model, alias, to).await.map(drop)
}

/// Whether the alias pointed to the version before, for the same reason.
async fn was_moved(
    registry: &Registry,
    manifest: &Manifest,
    alias: &Alias,
    note: &AuditNote,
) -> Result<bool, registry::Error> {
    let same =
        |assignment: &Assignment| assignment.version == manifest.version && assignment.reason == note.reason;
    match registry.alias_history(&manifest.model, alias).await {
        Ok(history) => Ok(history.iter().any(same)),
        Err(registry::Error::AliasNotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
