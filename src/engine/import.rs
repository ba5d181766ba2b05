//! Versions that come from files: checked, published, and pointed to as asked. Which file fits which
//! network is the checkpoint room's to say.

use super::{Error, publish, worker::LIBTORCH_VERSION};
use crate::{
    checkpoint::{
        self,
        foreign::{self, Adopted, Layout, Mapped, Names},
    },
    data::{DatasetSpec, dataset::Dims},
    ids::{Alias, ModelName},
    nn::{LayerShape, NetworkConfig, Shape},
    registry::{Draft, Expected, Import, Manifest, Move, Note, Registry},
};

/// What to make of a file.
#[derive(Debug, Clone)]
pub struct ImportJob {
    pub model: ModelName,
    pub network: NetworkConfig,
    /// What the network reads and tells apart.
    pub dims: Dims,
    /// Of each class; empty where a class goes by its number.
    pub class_names: Vec<String>,
    pub layout: Layout,
    pub names: Names,
    /// Moved to the version, beside `latest`.
    pub set_alias: Option<Alias>,
    /// What the network was trained on, where its importer knows.
    pub dataset: Option<DatasetSpec>,
    /// Who asks for it; kept where aliases move.
    pub by: String,
}

/// A version that was made of a file.
#[derive(Debug, Clone)]
pub struct Imported {
    pub manifest: Manifest,
    /// Which array became which parameter, in the order of the layers.
    pub mapping: Vec<Mapped>,
}

impl ImportJob {
    /// Checks that the layers fit together, before a file is asked for.
    pub fn check(&self) -> Result<(), Error> {
        self.shapes().map(drop)
    }

    fn shapes(&self) -> Result<Vec<LayerShape>, Error> {
        let Dims { height, width, classes } = self.dims;
        let shapes = self.network.shapes(Shape::grey(height, width), classes);
        shapes.map_err(|error| Error::field("metadata.network", format!("makes no network: {error}")))
    }
}

/// Publishes a version of a file. Errors before anything is published name what does not fit. Once
/// begun, the publishing goes on whether or not the caller waits.
pub(super) async fn import(registry: Registry, job: ImportJob, file: Vec<u8>) -> Result<Imported, Error> {
    let shapes = job.shapes()?;
    let adopting = tokio::task::spawn_blocking(move || {
        let adopted = foreign::adopt(&file, &job.network, &shapes, job.layout, job.names)?;
        Ok::<_, checkpoint::Error>((job, shapes, adopted))
    });
    let adopted = adopting.await.map_err(|error| Error::backend("reading a file of weights", error))?;
    let (job, shapes, adopted) =
        adopted.map_err(|error| Error::field("chunk", format!("is refused: {error}")))?;
    let publishing = tokio::spawn(async move { publish(&registry, job, &shapes, adopted).await });
    publishing.await.unwrap_or_else(|error| Err(Error::backend("publishing a version", error)))
}

async fn publish(
    registry: &Registry,
    job: ImportJob,
    shapes: &[LayerShape],
    adopted: Adopted,
) -> Result<Imported, Error> {
    let dims = job.dims;
    let parameters = shapes.iter().flat_map(|shape| &shape.parameters);
    let draft = Draft {
        network: job.network,
        height: dims.height,
        width: dims.width,
        classes: dims.classes,
        class_names: job.class_names,
        total_parameters: parameters.map(|parameter| parameter.count().unsigned_abs()).sum(),
        precision: adopted.precision,
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
    let manifest = registry.publish(&job.model, draft, adopted.bytes).await?;
    let note = Note::new(job.by, "imported");
    publish::advance_latest(registry, &manifest, &note).await?;
    if let Some(alias) = job.set_alias.filter(|alias| *alias != Alias::latest()) {
        let to = Move { version: manifest.version, expected: Expected::Anything, note };
        registry.set_alias(&job.model, &alias, to).await?;
    }
    Ok(Imported { manifest, mapping: adopted.mapping })
}
