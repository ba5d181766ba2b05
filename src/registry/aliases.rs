//! Aliases: each is the list of its assignments, so that moving one is a put-if-absent of the
//! next number, and the list is the history.

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use super::{
    CONCURRENT_READS, Error, Evidence, Page, Registry,
    store::{PutOutcome, json},
};
use crate::ids::{Alias, ModelName, Version};

/// The longest reason that is stored, in characters; a longer one is cut.
const MAX_REASON_CHARS: usize = 1000;
/// The longest stored name of who moved an alias, in characters.
const MAX_BY_CHARS: usize = 200;
const MAX_ASSIGNMENT_BYTES: usize = 64 << 10;

/// One assignment of an alias.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    /// Counted from 1.
    pub number: u32,
    pub version: Version,
    /// The version that the alias pointed to before; none for the first assignment.
    pub previous: Option<Version>,
    pub time: DateTime<Utc>,
    /// Who moved it, as far as that is known.
    #[serde(default)]
    pub by: String,
    pub reason: String,
    /// The evidence of a gated update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

/// Who updates an alias, and why; its history stores up to 200 and 1000 characters of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AuditNote {
    pub by: String,
    pub reason: String,
    pub evidence: Option<Evidence>,
}

impl AuditNote {
    pub fn new(by: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { by: by.into(), reason: reason.into(), evidence: None }
    }
}

/// The state of an alias that an update requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    Anything,
    Unset,
    Version(Version),
}

/// An update of an alias.
#[derive(Debug, Clone, PartialEq)]
pub struct AliasUpdate {
    pub version: Version,
    pub expected: Precondition,
    pub note: AuditNote,
}

/// A page of an alias's history.
#[derive(Debug, Clone, Copy)]
pub struct AliasPage {
    pub size: usize,
    /// Only assignments before the one of this number; none begins with the newest.
    pub before: Option<u32>,
}

impl Registry {
    /// The current assignment of an alias.
    pub async fn alias(&self, model: &ModelName, alias: &Alias) -> Result<Assignment, Error> {
        self.current(model, alias)
            .await?
            .ok_or_else(|| Error::AliasNotFound { model: model.clone(), alias: alias.clone() })
    }

    /// Every alias of a model and its version, by name. A damaged one is left out and written to the
    /// log.
    pub async fn aliases(&self, model: &ModelName) -> Result<Vec<(Alias, Version)>, Error> {
        let mut aliases = Vec::new();
        for alias in self.alias_names(model).await? {
            match self.current(model, &alias).await {
                Ok(current) => aliases.extend(current.map(|current| (alias, current.version))),
                Err(error @ Error::Corrupt { .. }) => {
                    tracing::warn!(%model, %alias, %error, "left out of the list");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(aliases)
    }

    /// Points `alias` where `to` says if it is where `to` expects it; returns the new assignment,
    /// or the current one where it points there already.
    pub async fn set_alias(
        &self,
        model: &ModelName,
        alias: &Alias,
        to: AliasUpdate,
    ) -> Result<Assignment, Error> {
        let _alone = self.changes.lock().await;
        self.point(model, alias, &to).await
    }

    /// Updates the alias for a caller that holds the lock.
    async fn point(&self, model: &ModelName, alias: &Alias, to: &AliasUpdate) -> Result<Assignment, Error> {
        self.manifest(model, to.version).await?;
        let assignment = self.assign(model, alias, to).await?;
        // Another server may have deleted it in between. It looks for aliases after it wrote its
        // tombstone, as we look for that after we wrote the alias: one of us sees the other.
        match self.manifest(model, to.version).await {
            Ok(_) => Ok(assignment),
            Err(gone @ Error::VersionNotFound { .. }) => {
                self.revert(model, alias, &assignment).await?;
                Err(gone)
            }
            Err(error) => Err(error),
        }
    }

    /// Points an alias back to the version before `assignment`, unless it was moved again.
    async fn revert(&self, model: &ModelName, alias: &Alias, assignment: &Assignment) -> Result<(), Error> {
        let Some(version) = assignment.previous else { return Ok(()) };
        let reason = format!("version {} was deleted meanwhile", assignment.version);
        let note = AuditNote::new(assignment.by.clone(), reason);
        let back = AliasUpdate { version, expected: Precondition::Version(assignment.version), note };
        match self.assign(model, alias, &back).await {
            Ok(_) | Err(Error::AliasMoved { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Points `alias` back at the version before the current one.
    pub async fn rollback(
        &self,
        model: &ModelName,
        alias: &Alias,
        note: AuditNote,
    ) -> Result<Assignment, Error> {
        let _alone = self.changes.lock().await;
        let current = self.alias(model, alias).await?;
        let Some(version) = current.previous else {
            return Err(Error::NothingBefore { model: model.clone(), alias: alias.clone() });
        };
        let expected = Precondition::Version(current.version);
        self.point(model, alias, &AliasUpdate { version, expected, note }).await
    }

    /// Returns the history of an alias, newest assignment first.
    pub async fn alias_history(&self, model: &ModelName, alias: &Alias) -> Result<Vec<Assignment>, Error> {
        let all = AliasPage { size: usize::MAX, before: None };
        Ok(self.alias_page(model, alias, all).await?.items)
    }

    /// Returns a page of the history, newest first.
    pub async fn alias_page(
        &self,
        model: &ModelName,
        alias: &Alias,
        page: AliasPage,
    ) -> Result<Page<Assignment>, Error> {
        let mut numbers = self.assignment_numbers(model, alias).await?;
        if numbers.is_empty() {
            return Err(Error::AliasNotFound { model: model.clone(), alias: alias.clone() });
        }
        numbers.retain(|number| page.before.is_none_or(|before| *number < before));
        let more = numbers.len() > page.size;
        let newest = numbers.into_iter().rev().take(page.size);
        let read = stream::iter(newest).map(|number| self.assignment(model, alias, number));
        let items: Vec<Option<Assignment>> = read.buffered(CONCURRENT_READS).try_collect().await?;
        Ok(Page { items: items.into_iter().flatten().collect(), more })
    }

    /// The aliases that point to a version, as an error.
    pub(super) async fn check_unaliased(&self, model: &ModelName, version: Version) -> Result<(), Error> {
        let mut aliases = Vec::new();
        for alias in self.alias_names(model).await? {
            // A damaged alias may be one that points here: that is an error too.
            let current = self.current(model, &alias).await?;
            aliases.extend(current.filter(|current| current.version == version).map(|_| alias));
        }
        if aliases.is_empty() {
            return Ok(());
        }
        Err(Error::VersionAliased { model: model.clone(), version, aliases })
    }

    /// The current assignment, or none where the alias was never set.
    pub(super) async fn current(
        &self,
        model: &ModelName,
        alias: &Alias,
    ) -> Result<Option<Assignment>, Error> {
        match self.assignment_numbers(model, alias).await?.last() {
            Some(&number) => self.assignment(model, alias, number).await,
            None => Ok(None),
        }
    }

    /// Writes the next assignment; if another server wrote it first, reads the current one and tries again.
    async fn assign(&self, model: &ModelName, alias: &Alias, to: &AliasUpdate) -> Result<Assignment, Error> {
        loop {
            let current = self.current(model, alias).await?;
            check_expected(model, alias, current.as_ref(), to.expected)?;
            let previous = current.as_ref().map(|current| current.version);
            let number = current.as_ref().map_or(1, |current| current.number + 1);
            if let Some(current) = current.filter(|current| current.version == to.version) {
                return Ok(current);
            }
            let reason = to.note.reason.chars().take(MAX_REASON_CHARS).collect();
            let by = to.note.by.chars().take(MAX_BY_CHARS).collect();
            let (version, time, evidence) = (to.version, Utc::now(), to.note.evidence.clone());
            let assignment = Assignment { number, version, previous, time, by, reason, evidence };
            let path = assignment_path(model, alias, number);
            if self.store.put_if_absent_or_same(&path, json(&assignment)).await? == PutOutcome::Created {
                self.changed();
                return Ok(assignment);
            }
        }
    }

    async fn alias_names(&self, model: &ModelName) -> Result<Vec<Alias>, Error> {
        let names = self.store.names(&aliases_path(model)).await?;
        let mut names: Vec<Alias> = names.iter().filter_map(|name| name.parse().ok()).collect();
        names.sort();
        Ok(names)
    }

    async fn assignment_numbers(&self, model: &ModelName, alias: &Alias) -> Result<Vec<u32>, Error> {
        let names = self.store.names(&aliases_path(model).join(alias.as_str())).await?;
        let number = |name: &String| name.strip_suffix(".json")?.parse::<u32>().ok();
        let mut numbers: Vec<u32> = names.iter().filter_map(number).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    async fn assignment(
        &self,
        model: &ModelName,
        alias: &Alias,
        number: u32,
    ) -> Result<Option<Assignment>, Error> {
        let path = assignment_path(model, alias, number);
        let Some(bytes) = self.store.get(&path, MAX_ASSIGNMENT_BYTES).await? else { return Ok(None) };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| Error::Corrupt { path: path.to_string(), message: error.to_string() })
    }
}

fn check_expected(
    model: &ModelName,
    alias: &Alias,
    current: Option<&Assignment>,
    expected: Precondition,
) -> Result<(), Error> {
    let found = current.map(|current| current.version);
    let holds = match expected {
        Precondition::Anything => true,
        Precondition::Unset => found.is_none(),
        Precondition::Version(version) => found == Some(version),
    };
    match holds {
        true => Ok(()),
        false => Err(Error::AliasMoved { model: model.clone(), alias: alias.clone(), found }),
    }
}

fn aliases_path(model: &ModelName) -> Path {
    Path::from_iter(["models", model.as_str(), "aliases"])
}

pub(super) fn assignment_path(model: &ModelName, alias: &Alias, number: u32) -> Path {
    aliases_path(model).join(alias.as_str()).join(format!("{number}.json"))
}
