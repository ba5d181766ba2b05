//! Models, versions and aliases: how requests name them, and how answers show them.

use std::net::SocketAddr;

use super::{
    dataset::{from_dataset, from_split},
    event::from_time,
    field::{Invalid, choice, int},
    network::from_layers,
    precision::from_precision,
    train::from_train_config,
};
use crate::{
    ids::{Alias, ModelName, RunId, Version, VersionRef},
    pb::digitd::v1::{self, export_version_request, get_version_request, model_ref},
    registry::{
        Assignment, Evidence, Expected, Manifest, ModelRef, ModelSummary, Note, RequirementResult, Which,
    },
};

/// The model that a text names; empty means the default one.
pub fn name(field: &str, text: &str) -> Result<ModelName, Invalid> {
    match text {
        "" => Ok(ModelName::default()),
        text => text.parse().map_err(Invalid::at(field)),
    }
}

pub fn version(field: &str, number: i32) -> Result<Version, Invalid> {
    Version::try_from(i64::from(number)).map_err(Invalid::at(field))
}

pub fn alias(field: &str, text: &str) -> Result<Alias, Invalid> {
    text.parse().map_err(Invalid::at(field))
}

/// The reference at `path`; left out, it means the default model's default version.
pub fn reference(path: &str, given: Option<v1::ModelRef>) -> Result<ModelRef, Invalid> {
    let Some(given) = given else { return Ok(ModelRef::default()) };
    parts(&format!("{path}."), &given.name, given.which)
}

/// The same of its parts, whose fields begin with `prefix`.
fn parts(prefix: &str, text: &str, which: Option<model_ref::Which>) -> Result<ModelRef, Invalid> {
    let which = match which {
        None => Which::Default,
        Some(model_ref::Which::Version(number)) => {
            Which::Version(version(&format!("{prefix}version"), number)?)
        }
        Some(model_ref::Which::Alias(text)) => Which::Alias(alias(&format!("{prefix}alias"), &text)?),
    };
    Ok(ModelRef { name: name(&format!("{prefix}name"), text)?, which })
}

/// The reference at `path` to one version exactly, as `from_exact` writes it.
pub fn exact(path: &str, given: v1::ModelRef) -> Result<VersionRef, Invalid> {
    let reference = reference(path, Some(given))?;
    match reference.which {
        Which::Version(version) => Ok(VersionRef { model: reference.name, version }),
        Which::Default | Which::Alias(_) => Err(Invalid::new(format!("{path}.version"), "is missing")),
    }
}

pub fn from_exact(exact: &VersionRef) -> v1::ModelRef {
    let which = Some(model_ref::Which::Version(int(exact.version.get())));
    v1::ModelRef { name: exact.model.to_string(), which }
}

pub fn get_version(request: v1::GetVersionRequest) -> Result<ModelRef, Invalid> {
    let which = request.which.map(|which| match which {
        get_version_request::Which::Version(number) => model_ref::Which::Version(number),
        get_version_request::Which::Alias(text) => model_ref::Which::Alias(text),
    });
    parts("", &request.name, which)
}

pub fn export_version(request: v1::ExportVersionRequest) -> Result<ModelRef, Invalid> {
    let which = request.which.map(|which| match which {
        export_version_request::Which::Version(number) => model_ref::Which::Version(number),
        export_version_request::Which::Alias(text) => model_ref::Which::Alias(text),
    });
    parts("", &request.name, which)
}

pub fn export_format(format: i32) -> Result<v1::ExportFormat, Invalid> {
    choice("format", format)
}

/// Where the caller expects an alias to point: 0 means that it was never set.
pub fn expected(field: &str, number: Option<i32>) -> Result<Expected, Invalid> {
    Ok(match number {
        None => Expected::Anything,
        Some(0) => Expected::Unset,
        Some(number) => Expected::Version(version(field, number)?),
    })
}

pub fn from_summary(summary: ModelSummary) -> v1::Model {
    v1::Model {
        name: summary.name.to_string(),
        newest_version: int(summary.newest.get()),
        version_count: int(summary.versions),
        aliases: summary.aliases.into_iter().map(|(alias, to)| (alias.to_string(), int(to.get()))).collect(),
    }
}

/// A version with those of its model's aliases that point to it.
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
        precision: from_precision(manifest.precision).into(),
        imported: manifest
            .imported
            .as_ref()
            .map(|imported| v1::ImportFacts { dataset: imported.dataset.as_ref().map(from_dataset) }),
    }
}

pub fn from_assignment(assignment: Assignment) -> v1::AliasAssignment {
    v1::AliasAssignment {
        number: int(assignment.number),
        version: int(assignment.version.get()),
        previous_version: assignment.previous.map(|version| int(version.get())),
        time: Some(from_time(assignment.time)),
        reason: assignment.reason,
        by: assignment.by,
        evidence: assignment.evidence.map(from_evidence),
    }
}

fn from_evidence(evidence: Evidence) -> v1::AliasEvidence {
    v1::AliasEvidence {
        results: evidence.results.into_iter().map(from_result).collect(),
        dataset: Some(from_dataset(&evidence.dataset)),
        split: from_split(evidence.split).into(),
        dataset_digest: evidence.dataset_digest,
        images: int(evidence.images),
    }
}

pub fn from_result(result: RequirementResult) -> v1::RequirementResult {
    v1::RequirementResult { requirement: result.requirement, measured: result.measured }
}

/// Who moves an alias, and why; `from` is where the request came from.
pub fn note(by: String, reason: String, from: Option<SocketAddr>) -> Note {
    let by = match by.trim() {
        "" => from.map(|addr| addr.ip().to_canonical().to_string()).unwrap_or_default(),
        by => by.to_owned(),
    };
    Note::new(by, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, which: Option<model_ref::Which>) -> Result<ModelRef, Invalid> {
        reference("model", Some(v1::ModelRef { name: name.to_owned(), which }))
    }

    #[test]
    fn nothing_means_the_default_version_of_digits() {
        assert_eq!(reference("model", None), Ok(ModelRef::default()));
        assert_eq!(of("", None).unwrap().name.as_str(), "digits");
    }

    #[test]
    fn a_reference_that_cannot_be_is_named() {
        let field = |given: Result<ModelRef, Invalid>| given.unwrap_err().field;
        assert_eq!(field(of("a/b", None)), "model.name");
        assert_eq!(field(of("", Some(model_ref::Which::Version(0)))), "model.version");
        assert_eq!(field(of("", Some(model_ref::Which::Alias("7".to_owned())))), "model.alias");
        assert_eq!(field(of("", Some(model_ref::Which::Alias(String::new())))), "model.alias");
    }

    #[test]
    fn who_says_nothing_goes_by_an_address() {
        let from = "[::ffff:10.0.0.7]:4711".parse().ok();
        assert_eq!(note(" ".to_owned(), String::new(), from).by, "10.0.0.7");
        assert_eq!(note("ana".to_owned(), String::new(), from).by, "ana");
        assert_eq!(note(String::new(), String::new(), None).by, "");
    }

    #[test]
    fn an_expected_version_of_zero_means_never_set() {
        let of = |number| expected("expected_version", number);
        assert_eq!(of(None), Ok(Expected::Anything));
        assert_eq!(of(Some(0)), Ok(Expected::Unset));
        assert_eq!(of(Some(3)), Ok(Expected::Version(3.try_into().unwrap())));
        assert_eq!(of(Some(-3)).unwrap_err().field, "expected_version");
    }
}
