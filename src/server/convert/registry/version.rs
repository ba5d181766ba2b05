//! Models and versions: which one a request names, and how responses show them.

use crate::{
    ids::{Alias, FieldError, RunId, Version},
    pb::digitd::v1::{self, export_version_request, get_version_request, model_ref},
    registry::{Manifest, ModelRef, ModelSummary},
    server::convert::{
        shared::{
            dataset::from_dataset,
            enums::ContractEnum,
            field::int,
            reference::{from_exact, from_parts},
            time::from_time,
        },
        training::{network::from_layers, request::from_train_config},
    },
};

pub fn get_version(request: v1::GetVersionRequest) -> Result<ModelRef, FieldError> {
    let which = request.which.map(|which| match which {
        get_version_request::Which::Version(number) => model_ref::Which::Version(number),
        get_version_request::Which::Alias(text) => model_ref::Which::Alias(text),
    });
    from_parts("", &request.name, which)
}

pub fn export_version(request: v1::ExportVersionRequest) -> Result<ModelRef, FieldError> {
    let which = request.which.map(|which| match which {
        export_version_request::Which::Version(number) => model_ref::Which::Version(number),
        export_version_request::Which::Alias(text) => model_ref::Which::Alias(text),
    });
    from_parts("", &request.name, which)
}

pub fn from_summary(summary: ModelSummary) -> v1::Model {
    v1::Model {
        name: summary.name.to_string(),
        newest_version: int(summary.newest.get()),
        version_count: int(summary.versions),
        aliases: summary.aliases.into_iter().map(|(alias, to)| (alias.to_string(), int(to.get()))).collect(),
    }
}

/// A version with the aliases of its model that point to it.
pub fn from_manifest(manifest: &Manifest, aliases: &[(Alias, Version)]) -> v1::ModelVersion {
    let pointing = aliases.iter().filter(|(_, to)| *to == manifest.version);
    v1::ModelVersion {
        name: manifest.model.to_string(),
        version: int(manifest.version.get()),
        create_time: Some(from_time(manifest.created)),
        run_id: manifest.run_id.as_ref().map(RunId::to_string).unwrap_or_default(),
        layers: from_layers(&manifest.network),
        request: manifest.config.as_ref().map(from_train_config),
        total_parameters: int(manifest.total_parameters),
        image_height: int(manifest.height),
        image_width: int(manifest.width),
        classes: int(manifest.classes),
        class_names: manifest.class_names.clone(),
        epoch: manifest.epoch.map(int),
        train_loss: manifest.train.map(|measured| measured.loss),
        train_accuracy: manifest.train.map(|measured| measured.accuracy),
        validation_loss: manifest.validation.map(|measured| measured.loss),
        validation_accuracy: manifest.validation.map(|measured| measured.accuracy),
        weights_sha256: manifest.weights_sha256.clone(),
        weights_bytes: int(manifest.weights_bytes),
        dataset_digest: manifest.dataset_digest.clone().unwrap_or_default(),
        digitd_version: manifest.digitd_version.clone(),
        libtorch_version: manifest.libtorch_version.clone(),
        aliases: pointing.map(|(alias, _)| alias.to_string()).collect(),
        parent: manifest.parent.as_ref().map(from_exact),
        precision: manifest.precision.to_wire(),
        imported: manifest
            .imported
            .as_ref()
            .map(|imported| v1::ImportFacts { dataset: imported.dataset.as_ref().map(from_dataset) }),
    }
}
