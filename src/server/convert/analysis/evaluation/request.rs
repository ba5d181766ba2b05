//! Requests to evaluate a version, and the requirements that it must meet.

use std::net::SocketAddr;

use crate::{
    data::Split,
    engine::{EvaluateJob, Gate, MAX_BATCH_SIZE, Promotion},
    ids::{FieldError, ModelName, Version},
    metric::Requirement,
    pb::digitd::v1,
    registry::{ModelRef, VersionSelector},
    server::convert::{
        registry::alias,
        shared::{dataset, enums::ContractEnum, field::count, reference},
    },
};

/// Most misclassified images in one response.
const MAX_MISCLASSIFIED: u32 = 100;

/// Most bins of a reliability diagram.
const MAX_BINS: u32 = 100;

/// Most requirements of one request: those that fail are reported in headers, and some clients accept 8 kB of
/// headers at most.
const MAX_REQUIREMENTS: usize = 10;

/// `from` is the address of the caller.
pub fn evaluate_request(
    request: v1::EvaluateRequest,
    from: Option<SocketAddr>,
) -> Result<EvaluateJob, FieldError> {
    let compare_to = match request.compare_to {
        None => None,
        Some(other) => Some(reference::reference("compare_to", Some(other))?),
    };
    let requirements = requirements(&request.require)?;
    let promotion = match request.promote {
        None => None,
        Some(_) if requirements.is_empty() => {
            let message = "needs require: SetAlias moves an alias without measuring";
            return Err(FieldError::new("promote", message));
        }
        Some(promotion) => Some(self::promotion(promotion, from)?),
    };
    let size = |field, value, range, default: usize| {
        let default = u32::try_from(default).expect("defaults are small");
        count(field, value, range, default).map(|size| size as usize)
    };
    Ok(EvaluateJob {
        model: reference::reference("model", request.model)?,
        compare_to,
        dataset: dataset::dataset("dataset", request.dataset)?,
        split: Split::parse("split", request.split)?,
        batch_size: size("batch_size", request.batch_size, 1..=MAX_BATCH_SIZE, EvaluateJob::BATCH_SIZE)?,
        bins: size("calibration_bins", request.calibration_bins, 1..=MAX_BINS, EvaluateJob::BINS)?,
        misclassified: size(
            "misclassified",
            request.misclassified,
            0..=MAX_MISCLASSIFIED,
            EvaluateJob::MISCLASSIFIED,
        )?,
        pngs: request.misclassified_png,
        fit_temperature: request.fit_temperature,
        gate: Gate { requirements, promotion },
    })
}

/// The evaluation that decides whether an alias moves to a version; `None` if the request has no requirements.
pub fn gated_alias(
    request: &v1::SetAliasRequest,
    (name, version): (&ModelName, Version),
    promotion: &Promotion,
) -> Result<Option<EvaluateJob>, FieldError> {
    let requirements = requirements(&request.require)?;
    if requirements.is_empty() {
        let fields = [("dataset", request.dataset.is_some()), ("split", request.split != 0)];
        return match fields.iter().find(|(_, is_set)| *is_set) {
            None => Ok(None),
            Some((field, _)) => {
                Err(FieldError::new(*field, "says what to measure on, and nothing is required: set require"))
            }
        };
    }
    let model = ModelRef { name: name.clone(), which: VersionSelector::Version(version) };
    Ok(Some(EvaluateJob {
        dataset: dataset::dataset("dataset", request.dataset.clone())?,
        split: Split::parse("split", request.split)?,
        misclassified: 0,
        gate: Gate { requirements, promotion: Some(promotion.clone()) },
        ..EvaluateJob::of(model)
    }))
}

fn requirements(texts: &[String]) -> Result<Vec<Requirement>, FieldError> {
    if texts.len() > MAX_REQUIREMENTS {
        let message = format!("has {} entries: use at most {MAX_REQUIREMENTS}", texts.len());
        return Err(FieldError::new("require", message));
    }
    let parsed = texts.iter().enumerate();
    parsed.map(|(index, text)| text.parse().map_err(FieldError::at(format!("require[{index}]")))).collect()
}

fn promotion(given: v1::Promotion, from: Option<SocketAddr>) -> Result<Promotion, FieldError> {
    Ok(Promotion {
        alias: reference::alias("promote.alias", &given.alias)?,
        expected: alias::expected("promote.expected_version", given.expected_version)?,
        note: alias::note(given.by, given.reason, from),
    })
}
