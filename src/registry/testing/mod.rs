//! Stores and drafts for tests.

mod minio;

use std::io::Write as _;

use minio::Minio;

use super::{Draft, Manifest, Registry};
use crate::{
    ids::ModelName,
    nn::{NetworkConfig, Precision},
};

/// A new and empty store.
pub struct TestStore {
    pub registry: Registry,
    variables: Vec<(String, String)>,
    /// Keeps the store alive while it is used.
    _folder: Option<tempfile::TempDir>,
}

impl TestStore {
    pub async fn memory() -> Self {
        let registry = Registry::open("memory:").await.expect("memory is writable");
        Self { registry, variables: Vec::new(), _folder: None }
    }

    pub async fn folder() -> Self {
        let folder = tempfile::tempdir().expect("a test has a folder for its files");
        let url = format!("file://{}", folder.path().display());
        let registry = Registry::open(&url).await.expect("the folder is writable");
        Self { registry, variables: Vec::new(), _folder: Some(folder) }
    }

    /// None if there is no S3 server for tests, which is a failure with DIGITD_TEST_STRICT=1.
    pub async fn bucket() -> Option<Self> {
        let server = match Minio::shared() {
            Ok(server) => server,
            Err(message) => {
                assert!(std::env::var("DIGITD_TEST_STRICT").as_deref() != Ok("1"), "{message}");
                // Written to standard error, because the test harness captures what a passing test prints.
                let written = writeln!(std::io::stderr(), "skipped: {message}");
                written.expect("standard error takes a line");
                return None;
            }
        };
        let variables = server.variables();
        let opened = Registry::open_with(&server.location(), variables.clone().into_iter()).await;
        Some(Self { registry: opened.expect("the bucket is writable"), variables, _folder: None })
    }

    /// The registry of another server on the same store: it has a lock of its own and, except for memory, a
    /// connection of its own.
    pub async fn of_another_server(&self) -> Registry {
        let url = self.registry.url();
        if url == "memory:" {
            let other = Registry::open(url).await.expect("memory is writable");
            return Registry { store: self.registry.store.clone(), ..other };
        }
        Registry::open_with(url, self.variables.clone().into_iter()).await.expect("it was opened before")
    }
}

impl Registry {
    /// The same store with this delay in every call.
    pub fn slowed(self, wait: std::time::Duration) -> Self {
        Self { store: self.store.slowed(wait), ..self }
    }
}

/// Every kind of store, new and empty; a folder exists as long as its guard.
pub async fn stores() -> Vec<(Registry, Option<tempfile::TempDir>)> {
    let all = [Some(TestStore::memory().await), Some(TestStore::folder().await), TestStore::bucket().await];
    all.into_iter().flatten().map(|store| (store.registry, store._folder)).collect()
}

/// A draft of the tutorial's network without a run.
pub fn draft() -> Draft {
    Draft {
        network: NetworkConfig::tutorial(),
        height: 28,
        width: 28,
        classes: 10,
        class_names: Vec::new(),
        total_parameters: 20_350,
        config: None,
        run_id: None,
        epoch: None,
        train: None,
        validation: None,
        dataset_digest: None,
        parent: None,
        precision: Precision::Float32,
        imported: None,
        libtorch_version: "2.11.0".to_owned(),
    }
}

/// The model that tests publish.
pub fn digits() -> ModelName {
    ModelName::default()
}

/// Publishes these bytes as the next version of [`digits`].
pub async fn publish(registry: &Registry, weights: &[u8]) -> Manifest {
    registry.publish(&digits(), draft(), weights.to_vec()).await.expect("a new version finds its place")
}
