//! The manifest of a version, which makes it exist, and its tombstone.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    data::{
        DatasetSpec,
        dataset::{CLASSES, MAX_SIDE},
    },
    ids::{ModelName, RunId, Version, VersionRef},
    nn::{NetworkConfig, Precision},
    train::{LossAndAccuracy, TrainConfig},
};

/// The newest form of manifests that this digitd reads and writes.
pub const FORMAT_VERSION: u32 = 1;

/// A published version: everything but the weights themselves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format_version: u32,
    pub model: ModelName,
    pub version: Version,
    pub created: DateTime<Utc>,
    pub network: NetworkConfig,
    /// The size of an input image, in pixels.
    pub height: usize,
    pub width: usize,
    pub classes: usize,
    /// Class names, one per class; empty if the classes are numbered.
    #[serde(default)]
    pub class_names: Vec<String>,
    pub total_parameters: u64,
    /// The SHA-256 of the whole weights file in lower-case hexadecimal.
    pub weights_sha256: String,
    pub weights_bytes: u64,
    /// The request of the run, with every default filled in.
    #[serde(default)]
    pub config: Option<TrainConfig>,
    #[serde(default)]
    pub run_id: Option<RunId>,
    /// The epoch that the weights come from, counted from 1, and its measures.
    #[serde(default)]
    pub epoch: Option<u32>,
    #[serde(default)]
    pub train: Option<LossAndAccuracy>,
    #[serde(default)]
    pub validation: Option<LossAndAccuracy>,
    /// The digest of the training images and labels.
    #[serde(default)]
    pub dataset_digest: Option<String>,
    /// The version that training started from.
    #[serde(default)]
    pub parent: Option<VersionRef>,
    /// The precision of training, which decides the type of the numbers in the weights file.
    #[serde(default)]
    pub precision: Precision,
    /// What the importer stated, for a version that no run made.
    #[serde(default)]
    pub imported: Option<Import>,
    pub digitd_version: String,
    pub libtorch_version: String,
}

/// What the importer of a version stated about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// The data set that it was trained on.
    pub dataset: Option<DatasetSpec>,
}

/// A version before it has a number. Fields as in [`Manifest`].
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    pub network: NetworkConfig,
    pub height: usize,
    pub width: usize,
    pub classes: usize,
    pub class_names: Vec<String>,
    pub total_parameters: u64,
    pub config: Option<TrainConfig>,
    pub run_id: Option<RunId>,
    pub epoch: Option<u32>,
    pub train: Option<LossAndAccuracy>,
    pub validation: Option<LossAndAccuracy>,
    pub dataset_digest: Option<String>,
    pub parent: Option<VersionRef>,
    pub precision: Precision,
    pub imported: Option<Import>,
    pub libtorch_version: String,
}

/// The content of a `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(super) enum ManifestEntry {
    Published(Box<Manifest>),
    /// The number was used and is not used again.
    Deleted {
        format_version: u32,
        time: DateTime<Utc>,
    },
}

impl Draft {
    /// The manifest of this draft as `version` of `model`, made now; `weights` are SHA-256 and size.
    pub(super) fn into_manifest(
        self,
        model: ModelName,
        version: Version,
        weights: (String, u64),
    ) -> Manifest {
        Manifest {
            format_version: FORMAT_VERSION,
            model,
            version,
            created: Utc::now(),
            network: self.network,
            height: self.height,
            width: self.width,
            classes: self.classes,
            class_names: self.class_names,
            total_parameters: self.total_parameters,
            weights_sha256: weights.0,
            weights_bytes: weights.1,
            config: self.config,
            run_id: self.run_id,
            epoch: self.epoch,
            train: self.train,
            validation: self.validation,
            dataset_digest: self.dataset_digest,
            parent: self.parent,
            precision: self.precision,
            imported: self.imported,
            digitd_version: env!("CARGO_PKG_VERSION").to_owned(),
            libtorch_version: self.libtorch_version,
        }
    }
}

impl Manifest {
    /// Returns the data set that the version was trained on, if it is known.
    pub fn dataset(&self) -> Option<&DatasetSpec> {
        let imported = || self.imported.as_ref()?.dataset.as_ref();
        self.config.as_ref().map(|config| &config.dataset).or_else(imported)
    }

    /// Whether image size and number of classes are within the limits of a data set.
    pub(super) fn has_size(&self) -> bool {
        let side = 1..=MAX_SIDE;
        side.contains(&self.height) && side.contains(&self.width) && CLASSES.contains(&self.classes)
    }
}

impl ManifestEntry {
    pub fn deleted() -> Self {
        Self::Deleted { format_version: FORMAT_VERSION, time: Utc::now() }
    }
}
