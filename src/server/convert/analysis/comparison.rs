//! `CompareVersions`: requests to compare two versions, and the responses.

use crate::{
    data::Split,
    engine::{ComparisonJob, VersionComparison},
    ids::{FieldError, VersionRef},
    inspect::{OutputDistance, ParameterDistance},
    metric::ChangedPrediction,
    pb::digitd::v1,
    server::convert::shared::{
        dataset,
        enums::ContractEnum,
        field::{count, int},
        reference,
    },
};

pub fn compare_request(request: v1::CompareVersionsRequest) -> Result<ComparisonJob, FieldError> {
    let before = request.before.map(|before| reference::reference("before", Some(before)));
    Ok(ComparisonJob {
        before: before.transpose()?,
        after: reference::reference("after", request.after)?,
        dataset: dataset::dataset("dataset", request.dataset)?,
        split: Split::parse("split", request.split)?,
        max_images: count("max_images", request.max_images, 1..=dataset::MAX_IMAGES, 10_000)? as usize,
        max_changed: count("max_changed", request.max_changed, 0..=10_000, 100)? as usize,
    })
}

pub fn from_comparison(comparison: VersionComparison) -> v1::CompareVersionsResponse {
    let difference = comparison.difference;
    let predictions = difference.predictions;
    let accuracy = |alone: u32| f64::from(predictions.both_right + alone) / f64::from(predictions.total());
    v1::CompareVersionsResponse {
        before: Some(from_version(&comparison.before, accuracy(predictions.only_first))),
        after: Some(from_version(&comparison.after, accuracy(predictions.only_second))),
        parameters: difference.parameters.into_iter().map(from_parameter).collect(),
        unmatched_parameters: difference.unmatched,
        outputs: difference.outputs.into_iter().map(from_output).collect(),
        dataset: comparison.dataset.to_string(),
        split: comparison.split.to_wire(),
        images: int(predictions.total()),
        changed: Some(int(predictions.changed)),
        became_right: Some(int(predictions.only_second)),
        became_wrong: Some(int(predictions.only_first)),
        changed_predictions: predictions.listed.into_iter().map(from_changed).collect(),
        class_names: comparison.class_names,
    }
}

fn from_version(version: &VersionRef, accuracy: f64) -> v1::ComparedVersion {
    v1::ComparedVersion {
        name: version.model.to_string(),
        version: int(version.version.get()),
        accuracy: Some(accuracy),
    }
}

fn from_parameter(parameter: ParameterDistance) -> v1::ParameterDistance {
    v1::ParameterDistance {
        name: parameter.name,
        count: int(parameter.count),
        distance: Some(parameter.distance),
        relative: parameter.relative,
        max_abs: Some(parameter.max_abs),
        cosine: parameter.cosine,
        unchanged: Some(int(parameter.unchanged)),
    }
}

fn from_output(output: OutputDistance) -> v1::OutputDistance {
    v1::OutputDistance {
        name: output.name,
        rms: Some(output.rms),
        relative: output.relative,
        max_abs: Some(output.max_abs),
    }
}

pub fn from_changed(changed: ChangedPrediction) -> v1::ChangedPrediction {
    v1::ChangedPrediction {
        index: Some(int(changed.index)),
        label: Some(int(changed.label)),
        first: Some(int(changed.first.0)),
        first_probability: Some(changed.first.1),
        second: Some(int(changed.second.0)),
        second_probability: Some(changed.second.1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_defaults_to_the_newest_version_and_test_images() {
        let job = compare_request(v1::CompareVersionsRequest::default()).unwrap();
        assert!(job.before.is_none());
        assert_eq!((job.max_images, job.max_changed, job.split), (10_000, 100, Split::Test));
        let request = v1::CompareVersionsRequest { max_images: Some(0), ..Default::default() };
        assert_eq!(compare_request(request).unwrap_err().field, "max_images");
        let which = Some(v1::model_ref::Which::Version(0));
        let before = Some(v1::ModelRef { name: String::new(), which });
        let request = v1::CompareVersionsRequest { before, ..Default::default() };
        assert_eq!(compare_request(request).unwrap_err().field, "before.version");
    }
}
