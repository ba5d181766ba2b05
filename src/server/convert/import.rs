//! `ImportVersion`: its metadata → the engine's job, and the version that was made of the file.

use std::ops::RangeInclusive;

use super::{
    dataset,
    field::{Invalid, choice, count, int},
    model, network,
};
use crate::{
    checkpoint::foreign::{Layout, Mapped, Names},
    data::dataset::{CLASSES, Dims, MAX_SIDE},
    engine::{ImportJob, Imported},
    ids::{Alias, Version},
    pb::digitd::v1::{self, layer},
};

/// Longest name of a class, in characters.
const MAX_CLASS_NAME: usize = 64;

/// What to make of the file; `by` asks for it. Errors name the field under `metadata`.
pub fn import_job(metadata: v1::ImportMetadata, by: String) -> Result<ImportJob, Invalid> {
    let dims = dims(&metadata)?;
    check_class_names(&metadata.class_names, dims.classes)?;
    let under = |invalid: Invalid| Invalid::new(format!("metadata.{}", invalid.field), invalid.message);
    let alias = |text: &str| -> Result<Alias, Invalid> { model::alias("metadata.set_alias", text) };
    Ok(ImportJob {
        model: model::name("metadata.name", &metadata.name)?,
        network: network::network(metadata.network, dims.classes).map_err(under)?,
        dims,
        class_names: metadata.class_names,
        by,
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

/// What the network reads and tells apart.
fn dims(metadata: &v1::ImportMetadata) -> Result<Dims, Invalid> {
    let within = |field: &str, value, range: RangeInclusive<usize>, default: usize| {
        // All of them are far below 2^32.
        let range = *range.start() as u32..=*range.end() as u32;
        count(&format!("metadata.{field}"), value, range, default as u32).map(|value| value as usize)
    };
    Ok(Dims {
        height: within("image_height", metadata.image_height, 1..=MAX_SIDE, Dims::MNIST.height)?,
        width: within("image_width", metadata.image_width, 1..=MAX_SIDE, Dims::MNIST.width)?,
        classes: within("classes", metadata.classes, CLASSES, told_classes(metadata))?,
    })
}

/// How many classes are meant where their number is not given.
fn told_classes(metadata: &v1::ImportMetadata) -> usize {
    let last = metadata.network.as_ref().and_then(|network| network.layers.last()?.kind.as_ref());
    let outputs = match last {
        Some(layer::Kind::Linear(linear)) => usize::try_from(linear.out_features).ok(),
        Some(_) | None => None,
    };
    let told = [Some(metadata.class_names.len()), outputs];
    let told = told.into_iter().flatten().find(|classes| CLASSES.contains(classes));
    told.unwrap_or(Dims::MNIST.classes)
}

fn check_class_names(names: &[String], classes: usize) -> Result<(), Invalid> {
    let refused = |message: String| Err(Invalid::new("metadata.class_names", message));
    if names.is_empty() {
        return Ok(());
    }
    if names.len() != classes {
        return refused(format!("are {} for {classes} classes: give one for each", names.len()));
    }
    for (index, name) in names.iter().enumerate() {
        if name.trim().is_empty() || name.chars().count() > MAX_CLASS_NAME {
            return refused(format!("[{index}] is not of 1 to {MAX_CLASS_NAME} characters"));
        }
        if names[..index].contains(name) {
            return refused(format!("[{index}] is {name:?} once more: no two may be alike"));
        }
    }
    Ok(())
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
    fn nothing_means_the_tutorials_network_in_libtorchs_layout() {
        let job = import_job(v1::ImportMetadata::default(), String::new()).unwrap();
        assert_eq!(job.dims, Dims::MNIST);
        assert_eq!((job.layout, job.names), (Layout::Libtorch, Names::Own));
        assert_eq!((&job.set_alias, &job.dataset), (&None, &None));
        job.check().unwrap();
    }

    #[test]
    fn a_size_that_is_given_stands_and_classes_follow_from_names_or_outputs() {
        let network = |outputs| {
            let linear = layer::Kind::Linear(v1::Linear { out_features: outputs });
            let layer = v1::Layer { kind: Some(linear), ..v1::Layer::default() };
            Some(v1::Network { preset: String::new(), layers: vec![layer] })
        };
        assert_eq!(size(|it| (it.image_height, it.image_width) = (Some(8), Some(64))), [8, 64, 10]);
        assert_eq!(size(|it| it.class_names = names(4)), [28, 28, 4]);
        assert_eq!(size(|it| it.network = network(7)), [28, 28, 7]);
        assert_eq!(size(|it| (it.network, it.classes) = (network(7), Some(8))), [28, 28, 8]);
        assert_eq!(size(|it| it.network = network(-7)), [28, 28, 10]);
    }

    #[test]
    fn metadata_that_cannot_be_is_named_by_its_field() {
        assert_eq!(field(|metadata| metadata.name = "a/b".to_owned()), "metadata.name");
        assert_eq!(field(|metadata| metadata.layout = 9), "metadata.layout");
        assert_eq!(field(|metadata| metadata.set_alias = "7".to_owned()), "metadata.set_alias");
        assert_eq!(field(|metadata| metadata.image_height = Some(0)), "metadata.image_height");
        assert_eq!(field(|metadata| metadata.image_width = Some(65)), "metadata.image_width");
        assert_eq!(field(|metadata| metadata.classes = Some(1)), "metadata.classes");
        for wrong in [names(1), [names(2), names(1)].concat(), vec![String::new(), "a".to_owned()]] {
            assert_eq!(field(|metadata| metadata.class_names = wrong), "metadata.class_names");
        }
        let network = v1::Network { preset: "resnet".to_owned(), layers: Vec::new() };
        assert_eq!(field(|metadata| metadata.network = Some(network)), "metadata.network.preset");
        let dataset = v1::Dataset { name: "a/b".to_owned(), ..v1::Dataset::default() };
        assert_eq!(field(|metadata| metadata.dataset = Some(dataset)), "metadata.dataset.name");
    }
}
