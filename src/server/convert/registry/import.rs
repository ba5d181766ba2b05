//! `ImportVersion`: the metadata → the job of the engine, and the imported version as the contract shows it.

use std::ops::RangeInclusive;

use super::version::from_manifest;
use crate::{
    checkpoint::import::{ArrayMapping, Layout, NamePolicy},
    data::dataset::{CLASSES, Dims, MAX_SIDE},
    engine::{ImportJob, ImportedVersion},
    ids::{Alias, FieldError, Version},
    pb::digitd::v1::{self, layer},
    server::convert::{
        shared::{
            dataset,
            enums::ContractEnum,
            field::{count, ints},
            reference,
        },
        training::network,
    },
};

/// Longest name of a class, in characters.
const MAX_CLASS_NAME: usize = 64;

/// The import that `by` requests. Errors name the field under `metadata`.
pub fn import_job(metadata: v1::ImportMetadata, by: String) -> Result<ImportJob, FieldError> {
    let dims = dims(&metadata)?;
    check_class_names(&metadata.class_names, dims.classes)?;
    let alias = |text: &str| -> Result<Alias, FieldError> { reference::alias("metadata.set_alias", text) };
    Ok(ImportJob {
        model: reference::name("metadata.name", &metadata.name)?,
        network: network::network(metadata.network, dims.classes)
            .map_err(|error| error.prefixed("metadata"))?,
        dims,
        class_names: metadata.class_names,
        by,
        layout: Layout::parse("metadata.layout", metadata.layout)?,
        names: match metadata.map_names {
            false => NamePolicy::Exact,
            true => NamePolicy::Mapped,
        },
        set_alias: Some(metadata.set_alias)
            .filter(|text| !text.is_empty())
            .map(|text| alias(&text))
            .transpose()?,
        dataset: dataset::dataset("metadata.dataset", metadata.dataset)?,
    })
}

/// The size of the images and the number of classes.
fn dims(metadata: &v1::ImportMetadata) -> Result<Dims, FieldError> {
    let within = |field: &str, value, range: RangeInclusive<usize>, default: usize| {
        // All of them are far below 2^32.
        let range = *range.start() as u32..=*range.end() as u32;
        count(&format!("metadata.{field}"), value, range, default as u32).map(|value| value as usize)
    };
    Ok(Dims {
        height: within("image_height", metadata.image_height, 1..=MAX_SIDE, Dims::MNIST.height)?,
        width: within("image_width", metadata.image_width, 1..=MAX_SIDE, Dims::MNIST.width)?,
        classes: within("classes", metadata.classes, CLASSES, implied_classes(metadata))?,
    })
}

/// The number of classes if the request does not give it: the number of names, or of outputs.
fn implied_classes(metadata: &v1::ImportMetadata) -> usize {
    let last = metadata.network.as_ref().and_then(|network| network.layers.last()?.kind.as_ref());
    let outputs = match last {
        Some(layer::Kind::Linear(linear)) => usize::try_from(linear.out_features).ok(),
        Some(_) | None => None,
    };
    let implied = [Some(metadata.class_names.len()), outputs];
    let implied = implied.into_iter().flatten().find(|classes| CLASSES.contains(classes));
    implied.unwrap_or(Dims::MNIST.classes)
}

fn check_class_names(names: &[String], classes: usize) -> Result<(), FieldError> {
    let rejected = |message: String| Err(FieldError::new("metadata.class_names", message));
    if names.is_empty() {
        return Ok(());
    }
    if names.len() != classes {
        return rejected(format!("are {} for {classes} classes: give one for each", names.len()));
    }
    for (index, name) in names.iter().enumerate() {
        if name.trim().is_empty() || name.chars().count() > MAX_CLASS_NAME {
            return rejected(format!("[{index}] does not have 1 to {MAX_CLASS_NAME} characters"));
        }
        if names[..index].contains(name) {
            return rejected(format!("[{index}] repeats {name:?}: use each name once"));
        }
    }
    Ok(())
}

/// The version with the aliases of its model that point to it.
pub fn from_imported_version(
    imported: &ImportedVersion,
    aliases: &[(Alias, Version)],
) -> v1::ImportVersionResponse {
    v1::ImportVersionResponse {
        version: Some(from_manifest(&imported.manifest, aliases)),
        arrays: imported.mapping.iter().map(from_mapped).collect(),
    }
}

fn from_mapped(mapped: &ArrayMapping) -> v1::ImportedArray {
    v1::ImportedArray {
        parameter: mapped.parameter.clone(),
        array: mapped.array.clone(),
        shape: ints(&mapped.shape),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(change: impl FnOnce(&mut v1::ImportMetadata)) -> String {
        let mut metadata = v1::ImportMetadata::default();
        change(&mut metadata);
        import_job(metadata, String::new()).unwrap_err().field
    }

    /// Height, width and classes of a job.
    fn size(change: impl FnOnce(&mut v1::ImportMetadata)) -> [usize; 3] {
        let mut metadata = v1::ImportMetadata::default();
        change(&mut metadata);
        let Dims { height, width, classes } = import_job(metadata, String::new()).unwrap().dims;
        [height, width, classes]
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|index| format!("class {index}")).collect()
    }

    #[test]
    fn an_empty_request_means_the_tutorials_network_in_libtorchs_layout() {
        let job = import_job(v1::ImportMetadata::default(), String::new()).unwrap();
        assert_eq!(job.dims, Dims::MNIST);
        assert_eq!((job.layout, job.names), (Layout::Libtorch, NamePolicy::Exact));
        assert_eq!((&job.set_alias, &job.dataset), (&None, &None));
        job.check().unwrap();
    }

    #[test]
    fn a_size_is_taken_as_set_and_classes_follow_from_names_or_outputs() {
        let network = |outputs| {
            let linear = layer::Kind::Linear(v1::Linear { out_features: outputs });
            let layer = v1::Layer { kind: Some(linear), ..v1::Layer::default() };
            Some(v1::Network { layers: vec![layer], ..v1::Network::default() })
        };
        assert_eq!(size(|it| (it.image_height, it.image_width) = (Some(8), Some(64))), [8, 64, 10]);
        assert_eq!(size(|it| it.class_names = names(4)), [28, 28, 4]);
        assert_eq!(size(|it| it.network = network(7)), [28, 28, 7]);
        assert_eq!(size(|it| (it.network, it.classes) = (network(7), Some(8))), [28, 28, 8]);
        assert_eq!(size(|it| it.network = network(-7)), [28, 28, 10]);
    }

    #[test]
    fn invalid_metadata_is_named_by_its_field() {
        assert_eq!(field(|metadata| metadata.name = "a/b".to_owned()), "metadata.name");
        assert_eq!(field(|metadata| metadata.layout = 9), "metadata.layout");
        assert_eq!(field(|metadata| metadata.set_alias = "7".to_owned()), "metadata.set_alias");
        assert_eq!(field(|metadata| metadata.image_height = Some(0)), "metadata.image_height");
        assert_eq!(field(|metadata| metadata.image_width = Some(65)), "metadata.image_width");
        assert_eq!(field(|metadata| metadata.classes = Some(1)), "metadata.classes");
        for wrong in [names(1), [names(2), names(1)].concat(), vec![String::new(), "a".to_owned()]] {
            assert_eq!(field(|metadata| metadata.class_names = wrong), "metadata.class_names");
        }
        let network = v1::Network { preset: "resnet".to_owned(), ..v1::Network::default() };
        assert_eq!(field(|metadata| metadata.network = Some(network)), "metadata.network.preset");
        let dataset = v1::Dataset { name: "a/b".to_owned(), ..v1::Dataset::default() };
        assert_eq!(field(|metadata| metadata.dataset = Some(dataset)), "metadata.dataset.name");
    }
}
