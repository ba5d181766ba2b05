//! Requests to measure and to show a version, and their answers.

use super::{
    dataset,
    field::{ANY, Invalid, count, int},
    inspection::{from_report, ints},
    model,
};
use crate::{
    engine::{Channels, Depth, EvaluateJob, Evaluated, InspectInput, Inspected},
    metric::{ClassReport, ConfusionMatrix},
    nn::NetworkConfig,
    pb::digitd::v1::{self, inspect_request::Input},
    registry::ModelRef,
};

/// Largest batch of a forward pass.
const MOST_BATCH: u32 = 65_536;

/// Most channels that one request may name; networks have a few dozen.
const MOST_CHANNELS: usize = 4096;

/// A request to show a version whose form is right.
#[derive(Debug)]
pub struct Inspection {
    pub model: ModelRef,
    pub input: Subject,
    pub batch_size: usize,
    pub depth: Depth,
}

/// The picture of an inspection; one of the caller's own is for the version to bear.
#[derive(Debug)]
pub enum Subject {
    Stored(InspectInput),
    Own { image: v1::Image, normalization: i32 },
}

pub fn evaluate_request(request: v1::EvaluateRequest) -> Result<EvaluateJob, Invalid> {
    Ok(EvaluateJob {
        model: model::reference("model", request.model)?,
        dataset: dataset::dataset("dataset", request.dataset)?,
        split: dataset::split("split", request.split)?,
        batch_size: count("batch_size", request.batch_size, 1..=MOST_BATCH, 1000)? as usize,
    })
}

pub fn inspect_request(request: v1::InspectRequest) -> Result<Inspection, Invalid> {
    if !request.contents {
        only_with_contents(&request)?;
    }
    let input = match request.input {
        None => Subject::Stored(InspectInput::Default),
        Some(Input::Image(image)) => Subject::Own { image, normalization: request.normalization },
        Some(Input::DatasetIndex(at)) => Subject::Stored(InspectInput::Index {
            dataset: dataset::dataset("dataset_index.dataset", at.dataset)?,
            split: dataset::split("dataset_index.split", at.split)?,
            index: count("dataset_index.index", Some(at.index), 0..=ANY, 0)? as usize,
        }),
    };
    let seed = count("channel_seed", request.channel_seed, 0..=ANY, 0)?;
    let channels = match request.channels.is_empty() {
        true => Channels::Random(seed.into()),
        false => Channels::Chosen(chosen(&request.channels)?),
    };
    if request.layers.len() > NetworkConfig::MAX_LAYERS {
        let message = format!(
            "has {} names: a network has at most {}",
            request.layers.len(),
            NetworkConfig::MAX_LAYERS
        );
        return Err(Invalid::new("layers", message));
    }
    let sample_images = count("sample_images", request.sample_images, 0..=60_000, 1000)? as usize;
    let depth = match request.contents {
        false => Depth::Shapes,
        true => Depth::Contents { layers: request.layers, channels, sample_images },
    };
    let batch_size = count("batch_size", request.batch_size, 1..=MOST_BATCH, 1)? as usize;
    Ok(Inspection { model: model::reference("model", request.model)?, input, batch_size, depth })
}

/// What says which contents to show says nothing where none are asked for.
fn only_with_contents(request: &v1::InspectRequest) -> Result<(), Invalid> {
    let given = [
        ("layers", !request.layers.is_empty()),
        ("channels", !request.channels.is_empty()),
        ("channel_seed", request.channel_seed.is_some()),
        ("sample_images", request.sample_images.is_some()),
    ];
    match given.iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((field, _)) => Err(Invalid::new(
            *field,
            "chooses contents, which are not asked for: set contents, or leave it out",
        )),
    }
}

fn chosen(channels: &[i32]) -> Result<Vec<i64>, Invalid> {
    if channels.len() > MOST_CHANNELS {
        let message = format!("has {} entries: name at most {MOST_CHANNELS}", channels.len());
        return Err(Invalid::new("channels", message));
    }
    let channels = channels.iter().enumerate().map(|(index, &channel)| {
        count(&format!("channels[{index}]"), Some(channel), 0..=ANY, 0).map(i64::from)
    });
    channels.collect()
}

pub fn from_evaluated(evaluated: &Evaluated) -> v1::EvaluateResponse {
    let confusion = &evaluated.evaluation.confusion;
    v1::EvaluateResponse {
        name: evaluated.model.to_string(),
        version: int(evaluated.version.get()),
        dataset: evaluated.dataset.to_string(),
        split: dataset::from_split(evaluated.split).into(),
        loss: Some(evaluated.evaluation.loss),
        accuracy: Some(evaluated.evaluation.accuracy()),
        correct: Some(int(confusion.correct())),
        total: int(confusion.total()),
        classes: confusion
            .class_reports()
            .into_iter()
            .map(|class| from_class(class, &evaluated.class_names))
            .collect(),
        confusion_matrix: Some(from_confusion(confusion)),
        seconds: Some(evaluated.seconds),
    }
}

pub fn from_inspected(inspected: Inspected) -> v1::InspectResponse {
    v1::InspectResponse {
        name: inspected.model.to_string(),
        version: int(inspected.version.get()),
        label: inspected.label.map(int),
        label_name: inspected.label.and_then(|label| inspected.class_names.get(usize::from(label)).cloned()),
        class_names: inspected.class_names,
        ..from_report(inspected.report)
    }
}

fn from_class(class: ClassReport, names: &[String]) -> v1::ClassReport {
    v1::ClassReport {
        label_name: names.get(class.label).cloned(),
        label: Some(int(class.label)),
        precision: class.precision,
        recall: class.recall,
        f1: class.f1,
        support: Some(int(class.support)),
    }
}

fn from_confusion(matrix: &ConfusionMatrix) -> v1::ConfusionMatrix {
    let row = |label| v1::ConfusionMatrixRow { counts: ints(matrix.row(label)) };
    v1::ConfusionMatrix { rows: (0..matrix.classes()).map(row).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        data::Split,
        eval::Evaluation,
        ids::{ModelName, Version},
    };

    #[test]
    fn an_evaluation_shows_rows_of_labels_and_leaves_out_what_is_undefined() {
        let mut confusion = ConfusionMatrix::new(3);
        [(0, 0), (0, 1), (1, 1)].iter().for_each(|&(label, answer)| confusion.add(label, answer));
        let answer = from_evaluated(&Evaluated {
            model: ModelName::default(),
            version: Version::FIRST,
            dataset: "mnist".parse().unwrap(),
            split: Split::Test,
            class_names: vec!["a".to_owned(), "b".to_owned(), "c".to_owned()],
            evaluation: Evaluation { loss: 0.5, confusion },
            seconds: 1.0,
        });
        assert_eq!((answer.name.as_str(), answer.split()), ("digits", v1::Split::Test));
        assert_eq!((answer.loss, answer.correct, answer.total), (Some(0.5), Some(2), 3));
        assert_eq!(answer.accuracy, Some(2.0 / 3.0));
        assert_eq!((answer.classes[0].label, answer.classes[2].label_name()), (Some(0), "c"));
        assert_eq!(answer.confusion_matrix.unwrap().rows[0].counts, [1, 1, 0]);
        assert_eq!((answer.classes[2].precision, answer.classes[2].support), (None, Some(0)));
    }

    #[test]
    fn fields_of_an_inspection_are_checked_by_name() {
        let field = |change: fn(&mut v1::InspectRequest)| {
            let mut request = v1::InspectRequest { contents: true, ..v1::InspectRequest::default() };
            change(&mut request);
            inspect_request(request).unwrap_err().field
        };
        assert_eq!(field(|request| request.batch_size = Some(0)), "batch_size");
        assert_eq!(field(|request| request.channels = vec![0, -1]), "channels[1]");
        assert_eq!(field(|request| request.channels = vec![0; 4097]), "channels");
        assert_eq!(field(|request| request.layers = vec![String::new(); 65]), "layers");
        assert_eq!(field(|request| request.channel_seed = Some(-1)), "channel_seed");
        assert_eq!(field(|request| request.sample_images = Some(60_001)), "sample_images");
        let at = v1::DatasetIndex { index: -1, ..v1::DatasetIndex::default() };
        let request = v1::InspectRequest { input: Some(Input::DatasetIndex(at)), ..Default::default() };
        assert_eq!(inspect_request(request).unwrap_err().field, "dataset_index.index");
    }

    #[test]
    fn a_choice_of_contents_without_contents_is_refused_by_name() {
        let field = |change: fn(&mut v1::InspectRequest)| {
            let mut request = v1::InspectRequest::default();
            change(&mut request);
            assert!(inspect_request(v1::InspectRequest { contents: true, ..request.clone() }).is_ok());
            inspect_request(request).unwrap_err().field
        };
        assert_eq!(field(|request| request.layers = vec!["conv1".to_owned()]), "layers");
        assert_eq!(field(|request| request.channels = vec![0]), "channels");
        assert_eq!(field(|request| request.channel_seed = Some(0)), "channel_seed");
        assert_eq!(field(|request| request.sample_images = Some(0)), "sample_images");
    }

    #[test]
    fn an_evaluation_of_nothing_in_particular_is_of_the_test_split() {
        let job = evaluate_request(v1::EvaluateRequest::default()).unwrap();
        assert_eq!((job.split, job.batch_size, job.dataset), (Split::Test, 1000, None));
        let request = v1::EvaluateRequest { batch_size: Some(0), ..Default::default() };
        assert_eq!(evaluate_request(request).unwrap_err().field, "batch_size");
    }
}
