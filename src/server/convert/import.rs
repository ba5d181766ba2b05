//! `ImportVersion`: its metadata → the engine's job, and the version that was made of the file.

use super::{
    dataset,
    field::{Invalid, choice, int},
    model, network,
};
use crate::{
    checkpoint::foreign::{Layout, Mapped, Names},
    data::dataset::Dims,
    engine::{ImportJob, Imported},
    ids::{Alias, Version},
    pb::digitd::v1,
};

/// What to make of the file. Errors name the field under `metadata`.
pub fn import_job(metadata: v1::ImportMetadata) -> Result<ImportJob, Invalid> {
    let under = |invalid: Invalid| Invalid::new(format!("metadata.{}", invalid.field), invalid.message);
    let alias = |text: &str| -> Result<Alias, Invalid> { model::alias("metadata.set_alias", text) };
    Ok(ImportJob {
        model: model::name("metadata.name", &metadata.name)?,
        network: network::network(metadata.network, Dims::MNIST.classes).map_err(under)?,
        layout: match choice("metadata.layout", metadata.layout)? {
            v1::WeightsLayout::Unspecified | v1::WeightsLayout::Libtorch => Layout::Libtorch,
            v1::WeightsLayout::Paddle => Layout::Paddle,
        },
        names: match metadata.map_names {
            false => Names::Own,
            true => Names::Mapped,
        },
        set_alias: Some(metadata.set_alias)
            .filter(|text| !text.is_empty())
            .map(|text| alias(&text))
            .transpose()?,
        dataset: dataset::dataset("metadata.dataset", metadata.dataset)?,
    })
}

/// The version with those of its model's aliases that point to it.
pub fn from_imported(imported: &Imported, aliases: &[(Alias, Version)]) -> v1::ImportVersionResponse {
    v1::ImportVersionResponse {
        version: Some(model::from_manifest(&imported.manifest, aliases)),
        arrays: imported.mapping.iter().map(from_mapped).collect(),
    }
}

fn from_mapped(mapped: &Mapped) -> v1::ImportedArray {
    v1::ImportedArray {
        parameter: mapped.parameter.clone(),
        array: mapped.array.clone(),
        shape: mapped.shape.iter().map(|&extent| int(extent)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(change: impl FnOnce(&mut v1::ImportMetadata)) -> String {
        let mut metadata = v1::ImportMetadata::default();
        change(&mut metadata);
        import_job(metadata).unwrap_err().field
    }

    #[test]
    fn nothing_means_the_tutorials_network_in_libtorchs_layout() {
        let job = import_job(v1::ImportMetadata::default()).unwrap();
        assert_eq!((job.layout, job.names), (Layout::Libtorch, Names::Own));
        assert_eq!((&job.set_alias, &job.dataset), (&None, &None));
        job.check().unwrap();
    }

    #[test]
    fn metadata_that_cannot_be_is_named_by_its_field() {
        assert_eq!(field(|metadata| metadata.name = "a/b".to_owned()), "metadata.name");
        assert_eq!(field(|metadata| metadata.layout = 9), "metadata.layout");
        assert_eq!(field(|metadata| metadata.set_alias = "7".to_owned()), "metadata.set_alias");
        let network = v1::Network { preset: "resnet".to_owned(), layers: Vec::new() };
        assert_eq!(field(|metadata| metadata.network = Some(network)), "metadata.network.preset");
        let dataset = v1::Dataset { name: "a/b".to_owned(), ..v1::Dataset::default() };
        assert_eq!(field(|metadata| metadata.dataset = Some(dataset)), "metadata.dataset.name");
    }
}
