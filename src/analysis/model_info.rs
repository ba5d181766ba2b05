//! What is known of an analysed network in addition to its weights: for a version from its manifest, for a run from its
//! request.

use super::requests::{RunStep, SubjectInfo};
use crate::{
    compute::Error,
    data::{Catalog, DatasetSpec, ImageSet, Split, ValidationSize, dataset::Dims},
    ids::{ModelName, Version, VersionRef},
    nn::Precision,
    registry::Manifest,
    train::TrainConfig,
};

/// A network that is analysed.
#[derive(Debug, Clone)]
pub struct ModelInfo {
    pub model: ModelName,
    /// The version; none for weights of a run.
    pub version: Option<Version>,
    pub run: Option<RunStep>,
    /// The request of the run that made the weights.
    pub config: Option<TrainConfig>,
    pub training_dataset: Option<DatasetSpec>,
    pub dims: Dims,
    pub class_names: Vec<String>,
    pub precision: Precision,
    pub parent: Option<VersionRef>,
}

impl ModelInfo {
    pub fn from_manifest(manifest: &Manifest) -> Self {
        Self {
            model: manifest.model.clone(),
            version: Some(manifest.version),
            run: None,
            config: manifest.config.clone(),
            training_dataset: manifest.dataset().cloned(),
            dims: Dims { height: manifest.height, width: manifest.width, classes: manifest.classes },
            class_names: manifest.class_names.clone(),
            precision: manifest.precision,
            parent: manifest.parent.clone(),
        }
    }

    pub fn from_run(config: &TrainConfig, run: RunStep, dims: Dims, class_names: Vec<String>) -> Self {
        Self {
            model: config.model.clone(),
            version: None,
            run: Some(run),
            config: Some(config.clone()),
            training_dataset: Some(config.dataset.clone()),
            dims,
            class_names,
            precision: config.precision,
            parent: config.initial.clone(),
        }
    }

    /// Reads the class names from the run's data set, if that is still here: a checkpoint does not have them.
    pub fn name_classes(&mut self, catalog: &Catalog) {
        let Some(config) = self.config.as_ref().filter(|config| !config.dataset.is_built_in()) else {
            return;
        };
        if let Ok(images) = catalog.load_split(&config.dataset, config.validation.size, Split::Validation) {
            self.class_names = images.class_names().to_vec();
        }
    }

    /// A title for drawings, such as `digits version 3`.
    pub fn title(&self) -> String {
        match (self.version, self.run) {
            (Some(version), _) => format!("{} version {version}", self.model),
            (None, Some(run)) => format!("{} after step {} of its run", self.model, run.at.step),
            (None, None) => self.model.to_string(),
        }
    }

    /// Panics on a run.
    pub fn version_ref(&self) -> VersionRef {
        let version = self.version.expect("what was found by its version has one");
        VersionRef { model: self.model.clone(), version }
    }

    /// Returns the part of this that callers see.
    pub fn subject(&self) -> SubjectInfo {
        SubjectInfo {
            model: self.model.clone(),
            version: self.version,
            run: self.run,
            class_names: self.class_names.clone(),
            precision: self.precision,
        }
    }

    /// The requested data set, or the one that the network was trained on. If a request names the latter, what it
    /// leaves out is as in training: otherwise its validation images could be images that the network was trained
    /// on.
    pub fn dataset(&self, requested: Option<DatasetSpec>, field: &str) -> Result<DatasetSpec, Error> {
        match (requested, self.training_dataset.clone()) {
            (None, Some(known)) => Ok(known),
            (Some(requested), Some(known)) if requested.name == known.name => Ok(DatasetSpec {
                seed: requested.seed.or(known.seed),
                max_train_images: requested.max_train_images.or(known.max_train_images),
                ..requested
            }),
            (Some(requested), _) => Ok(requested),
            (None, None) => {
                let message = "is left out, and the version does not record which one it was trained on: \
                               name a data set";
                Err(Error::field(field, message))
            }
        }
    }

    /// A part of a data set, split as the network's run split it.
    pub fn images(
        &self,
        catalog: &Catalog,
        dataset: &DatasetSpec,
        (split, field): (Split, &str),
    ) -> Result<ImageSet, Error> {
        let size = self.config.as_ref().map_or_else(ValidationSize::default, |config| config.validation.size);
        let images = catalog.load_split(dataset, size, split)?;
        check_fit(self.dims, &images, field)?;
        Ok(images)
    }
}

/// Checks that a version reads images like these; `field` names the field of the request that chose them.
pub fn check_fit(dims: Dims, images: &ImageSet, field: &str) -> Result<(), Error> {
    let Dims { height, width, classes } = dims;
    if (images.height(), images.width()) == (height, width) && images.classes() <= classes {
        return Ok(());
    }
    let (size, count) = (format!("{} x {}", images.height(), images.width()), images.classes());
    let message = match field {
        "compare_to" => format!(
            "reads {height} x {width} images of {classes} classes, and those of the data set are {size} of {count}"
        ),
        _ => format!(
            "has {size} images of {count} classes, and the version reads {height} x {width} of {classes}"
        ),
    };
    Err(Error::field(field, message))
}
