//! The stored runs: the request, the state, the events in chunks, and the newest checkpoint. Knows
//! names and limits; the bytes have a meaning to the engine only.

use bytes::Bytes;
use object_store::path::Path;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Error,
    store::{PutOutcome, Store, json},
};
use crate::ids::RunId;

const MAX_JSON_BYTES: usize = 1 << 20;
const MAX_CHUNK_BYTES: usize = 8 << 20;
/// The size limit of a checkpoint in bytes: weights, and two or three times as much optimizer state.
const MAX_CHECKPOINT_BYTES: usize = 512 << 20;

/// The runs of a store; clones share it.
#[derive(Debug, Clone)]
pub struct RunStore {
    store: Store,
}

/// The outcome of appending a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Append {
    Written,
    /// Another server wrote a chunk of that number, which was left unchanged.
    Taken,
}

impl RunStore {
    pub(super) fn new(store: Store) -> Self {
        Self { store }
    }

    /// Stores the request of a run, which is written once.
    pub async fn put_request(&self, run: RunId, request: &impl Serialize) -> Result<(), Error> {
        self.store.put(&path(run, "request.json"), json(request)).await
    }

    /// Stores the state of a run. A run without one is not listed.
    pub async fn put_state(&self, run: RunId, state: &impl Serialize) -> Result<(), Error> {
        self.store.put(&path(run, "state.json"), json(state)).await
    }

    /// The state that was stored last. Errors with `RunNotFound` if there is none.
    pub async fn state<T: DeserializeOwned>(&self, run: RunId) -> Result<T, Error> {
        let path = path(run, "state.json");
        let bytes = self.store.get(&path, MAX_JSON_BYTES).await?.ok_or(Error::RunNotFound(run))?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Error::Corrupt { path: path.to_string(), message: error.to_string() })
    }

    /// All runs, newest first, those included whose beginning was cut short.
    pub async fn list(&self) -> Result<Vec<RunId>, Error> {
        let names = self.store.names(&Path::from("runs")).await?;
        let mut runs: Vec<RunId> = names.iter().filter_map(|name| name.parse().ok()).collect();
        runs.sort_unstable_by(|a, b| b.cmp(a));
        Ok(runs)
    }

    /// Writes the chunk of events that begins with `first`, in place of an existing one.
    pub async fn put_events(&self, run: RunId, first: u32, lines: Vec<u8>) -> Result<(), Error> {
        self.store.put(&chunk(run, first), lines).await
    }

    /// Writes the chunk of events that begins with `first` if there is none.
    pub async fn append_events(&self, run: RunId, first: u32, lines: Vec<u8>) -> Result<Append, Error> {
        match self.store.put_if_absent_or_same(&chunk(run, first), lines).await? {
            PutOutcome::Created => Ok(Append::Written),
            PutOutcome::AlreadyExists => Ok(Append::Taken),
        }
    }

    /// The first sequences of a run's chunks, ascending.
    pub async fn chunks(&self, run: RunId) -> Result<Vec<u32>, Error> {
        let names = self.store.names(&path(run, "events")).await?;
        let first = |name: &String| name.strip_suffix(".jsonl")?.parse::<u32>().ok();
        let mut chunks: Vec<u32> = names.iter().filter_map(first).collect();
        chunks.sort_unstable();
        Ok(chunks)
    }

    /// The chunk of events that begins with `first`: JSON, a line each.
    pub async fn events(&self, run: RunId, first: u32) -> Result<Bytes, Error> {
        let path = chunk(run, first);
        self.store.get(&path, MAX_CHUNK_BYTES).await?.ok_or_else(|| missing(&path))
    }

    /// Stores a checkpoint taken after `step` batches, then deletes the older ones. Returns its key
    /// under the run.
    pub async fn put_checkpoint(
        &self,
        run: RunId,
        step: u32,
        bytes: impl Into<Bytes>,
    ) -> Result<String, Error> {
        let name = format!("{step:010}.safetensors");
        let folder = path(run, "checkpoints");
        self.store.put(&folder.clone().join(name.as_str()), bytes.into()).await?;
        if let Err(error) = self.forget_checkpoints(&folder, &name).await {
            tracing::warn!(%run, %error, "an older checkpoint stays where it is");
        }
        Ok(format!("checkpoints/{name}"))
    }

    async fn forget_checkpoints(&self, folder: &Path, before: &str) -> Result<(), Error> {
        for old in self.store.names(folder).await?.into_iter().filter(|old| old.as_str() < before) {
            self.store.delete(&folder.clone().join(old)).await?;
        }
        Ok(())
    }

    /// The newest checkpoint: its key under the run, and its bytes.
    pub async fn checkpoint(&self, run: RunId) -> Result<Option<(String, Bytes)>, Error> {
        let folder = path(run, "checkpoints");
        let Some(name) = self.store.names(&folder).await?.into_iter().max() else { return Ok(None) };
        let bytes = self.store.get(&folder.join(name.as_str()), MAX_CHECKPOINT_BYTES).await?;
        Ok(bytes.map(|bytes| (format!("checkpoints/{name}"), bytes)))
    }
}

fn path(run: RunId, name: &str) -> Path {
    Path::from_iter(["runs", &run.to_string(), name])
}

fn chunk(run: RunId, first: u32) -> Path {
    path(run, "events").join(format!("{first:010}.jsonl"))
}

fn missing(path: &Path) -> Error {
    Error::Corrupt { path: path.to_string(), message: "it is missing".to_owned() }
}
