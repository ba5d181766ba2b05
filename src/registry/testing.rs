//! Stores and drafts for tests.

use super::{Draft, Manifest, Registry};
use crate::{
    ids::ModelName,
    nn::{NetworkConfig, Precision},
};

/// Every kind of store, new and empty; a folder lives as long as its guard.
pub async fn stores() -> Vec<(Registry, Option<tempfile::TempDir>)> {
    let folder = tempfile::tempdir().expect("a test has a folder for its files");
    let url = format!("file://{}", folder.path().display());
    vec![
        (Registry::open("memory:").await.expect("memory is writable"), None),
        (Registry::open(&url).await.expect("the folder is writable"), Some(folder)),
    ]
}

/// A draft of the tutorial's network that knows nothing of a run.
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
