//! Models, their versions and aliases, and the stored runs, on an object store: a folder, a
//! bucket of S3, or memory in tests. The only room that knows object_store; does not use any tensor or request.
//!
//! ```text
//! models/<name>/versions/<n>/weights.safetensors   put-if-absent: claims the number n
//! models/<name>/versions/<n>/manifest.json         written last, put-if-absent: the version exists
//! models/<name>/aliases/<alias>/<k>.json           the k-th assignment, put-if-absent
//! runs/<id>/{request.json, state.json, events/<first sequence>.jsonl, checkpoints/…}
//! ```
//!
//! Two publishers never share a folder: the weights are put if absent, so a number belongs to one
//! of them, and the other takes the next. A folder without a manifest is invisible. A deletion
//! writes a tombstone over the manifest, so that the number is not used again.

mod aliases;
mod bucket;
mod error;
mod evidence;
mod folders;
mod location;
mod manifest;
mod models;
mod retention;
mod runs;
mod store;
mod versions;

use std::sync::Arc;

use tokio::sync::watch;

use crate::ids::{Alias, ModelName, Version};

pub use aliases::{AliasPage, AliasUpdate, Assignment, AuditNote, Precondition};
pub use error::Error;
pub use evidence::{Evidence, RequirementResult};
pub use manifest::{Draft, FORMAT_VERSION, Import, Manifest};
pub use models::ModelSummary;
pub use runs::{Append, RunStore};
use store::Store;
pub use versions::{MAX_WEIGHTS_BYTES, Page, VersionPage};

/// The number of objects of a list that are read concurrently, so that the latency of a remote store
/// is paid once, not for each of them.
const CONCURRENT_READS: usize = 16;

/// A reference to a version of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ModelRef {
    pub name: ModelName,
    pub which: VersionSelector,
}

/// The selector of a version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum VersionSelector {
    /// The alias `production` if it was ever set, else the newest version.
    #[default]
    Default,
    Version(Version),
    Alias(Alias),
}

/// The registry; clones share it.
#[derive(Debug, Clone)]
pub struct Registry {
    store: Store,
    /// Serialises this process's changes of versions and aliases; other processes are kept out by
    /// put-if-absent alone.
    changes: Arc<tokio::sync::Mutex<()>>,
    generation: Arc<watch::Sender<u64>>,
}

impl Registry {
    /// Opens the store at a path, `file://…`, `s3://…` or `memory:` and checks that it can be written.
    /// The variables `AWS_…` of this process say how a bucket is reached.
    pub async fn open(url: &str) -> Result<Self, Error> {
        let variables = std::env::vars_os();
        Self::open_with(
            url,
            variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        )
        .await
    }

    /// Opens the store with variables of the caller's choice.
    pub async fn open_with(
        url: &str,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, Error> {
        let store = Store::open(url, variables).await?;
        Ok(Self { store, changes: Arc::default(), generation: Arc::default() })
    }

    /// Returns the URL of the store, as it was opened.
    pub fn url(&self) -> &str {
        self.store.url()
    }

    /// Returns the store of runs.
    pub fn runs(&self) -> RunStore {
        RunStore::new(self.store.clone())
    }

    /// Grows with every change of versions and aliases made through this registry or its clones,
    /// so that a cache can detect that it is out of date.
    pub fn generation(&self) -> u64 {
        *self.generation.borrow()
    }

    /// Subscribes to the generation.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    fn changed(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
