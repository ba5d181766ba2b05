//! Importing versions from files of weights. Which file fits which network is for `checkpoint` to decide.

use crate::{
    checkpoint::{
        self,
        import::{ArrayMapping, ImportedWeights, Layout, NamePolicy, import_weights},
    },
    compute::{Error, LIBTORCH_VERSION},
    data::{DatasetSpec, dataset::Dims},
    ids::{Alias, ModelName},
    nn::{LayerShape, NetworkConfig, Shape},
    registry::{AuditNote, Draft, Import, Manifest, Registry},
    runs::{self, UnmovedAlias},
};

/// What to make of a file.
#[derive(Debug, Clone)]
pub struct ImportJob {
    pub model: ModelName,
    pub network: NetworkConfig,
    /// The size of the images, and the number of classes.
    pub dims: Dims,
    /// Class names, one per class; empty if the classes are numbered.
    pub class_names: Vec<String>,
    pub layout: Layout,
    pub names: NamePolicy,
    /// An alias to move to the version, in addition to `latest`.
    pub set_alias: Option<Alias>,
    /// The data set that the network was trained on, if its importer knows.
    pub dataset: Option<DatasetSpec>,
    /// Who imports it, for the history of the aliases.
    pub by: String,
}

/// A version that was made from a file.
#[derive(Debug, Clone)]
pub struct ImportedVersion {
    pub manifest: Manifest,
    /// Which array became which parameter, in the order of the layers.
    pub mapping: Vec<ArrayMapping>,
    /// The aliases that do not point to the version although they were to be moved.
    pub unmoved: Vec<UnmovedAlias>,
}

impl ImportedVersion {
    /// The message about those aliases; empty if there are none.
    pub fn unmoved_message(&self) -> String {
        runs::unmoved_message(self.manifest.version, &self.unmoved)
    }
}

impl ImportJob {
    /// Checks that the layers fit together, before a file is requested.
    pub fn check(&self) -> Result<(), Error> {
        self.shapes().map(drop)
    }

    fn shapes(&self) -> Result<Vec<LayerShape>, Error> {
        let Dims { height, width, classes } = self.dims;
        let shapes = self.network.shapes(Shape::grey(height, width), classes);
        shapes.map_err(|error| Error::field("metadata.network", format!("makes no network: {error}")))
    }
}

/// Publishes a version from a file. Errors before anything is published name what does not fit. Once begun, the
/// publishing continues whether or not the caller waits.
pub async fn import(registry: Registry, job: ImportJob, file: Vec<u8>) -> Result<ImportedVersion, Error> {
    let shapes = job.shapes()?;
    let importing = tokio::task::spawn_blocking(move || {
        let imported = import_weights(&file, &job.network, &shapes, job.layout, job.names)?;
        Ok::<_, checkpoint::Error>((job, shapes, imported))
    });
    let imported = importing.await.map_err(|error| Error::backend("reading a file of weights", error))?;
    let (job, shapes, imported) =
        imported.map_err(|error| Error::field("chunk", format!("is refused: {error}")))?;
    let publishing = tokio::spawn(async move { publish(&registry, job, &shapes, imported).await });
    publishing.await.unwrap_or_else(|error| Err(Error::backend("publishing a version", error)))
}

async fn publish(
    registry: &Registry,
    job: ImportJob,
    shapes: &[LayerShape],
    imported: ImportedWeights,
) -> Result<ImportedVersion, Error> {
    let dims = job.dims;
    let parameters = shapes.iter().flat_map(|shape| &shape.parameters);
    let draft = Draft {
        network: job.network,
        height: dims.height,
        width: dims.width,
        classes: dims.classes,
        class_names: job.class_names,
        total_parameters: parameters.map(|parameter| parameter.count().unsigned_abs()).sum(),
        precision: imported.precision,
        config: None,
        run_id: None,
        epoch: None,
        train: None,
        validation: None,
        dataset_digest: None,
        parent: None,
        imported: Some(Import { dataset: job.dataset }),
        libtorch_version: LIBTORCH_VERSION.to_owned(),
    };
    let manifest = registry.publish(&job.model, draft, imported.bytes).await?;
    let note = AuditNote::new(job.by, "imported");
    let unmoved = runs::move_aliases(registry, &manifest, job.set_alias.as_ref(), &note).await;
    Ok(ImportedVersion { manifest, mapping: imported.mapping, unmoved })
}
