//! Requests to measure and to show a version, and their answers.

use super::{
    dataset,
    field::{ANY, Invalid, count, int},
    model,
    picture::{self, Checked},
};
use crate::{
    engine::{Channels, Depth, EvaluateJob, Evaluated, InspectInput, Inspected},
    inspect::{ChannelReport, LayerReport, OutputReport, ParameterReport, Report},
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

/// The picture of an inspection; one of the caller's own still has to be read.
#[derive(Debug)]
pub enum Subject {
    Stored(InspectInput),
    Own(Checked),
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
        Some(Input::Image(image)) => Subject::Own(picture::check_one(image, request.normalization)?),
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
        Some((field, _)) => {
            Err(Invalid::new(*field, "chooses contents, which are not asked for: set contents, or leave it out"))
        }
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
        classes: confusion.class_reports().into_iter().map(from_class).collect(),
        confusion_matrix: Some(from_confusion(confusion)),
        seconds: Some(evaluated.seconds),
    }
}

pub fn from_inspected(inspected: Inspected) -> v1::InspectResponse {
    v1::InspectResponse {
        name: inspected.model.to_string(),
        version: int(inspected.version.get()),
        label: inspected.label.map(int),
        ..from_report(inspected.report)
    }
}

fn from_report(report: Report) -> v1::InspectResponse {
    v1::InspectResponse {
        layers: report.layers.into_iter().map(from_layer).collect(),
        total_parameters: int(report.total_parameters),
        total_multiply_adds: report.total_multiply_adds as f64,
        input_shape: ints(&report.input_shape),
        probabilities: report.probabilities,
        sample_images: report.sample_images.map(int),
        ..v1::InspectResponse::default()
    }
}

fn from_class(class: ClassReport) -> v1::ClassReport {
    v1::ClassReport {
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

fn from_layer(layer: LayerReport) -> v1::LayerReport {
    let hyperparameters = layer.kind.hyperparameters();
    v1::LayerReport {
        name: layer.name,
        kind: layer.kind.word().to_owned(),
        hyperparameters: hyperparameters.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        input_shape: ints(&layer.input_shape),
        output_shape: ints(&layer.output_shape),
        parameters: layer.parameters.into_iter().map(from_parameter).collect(),
        multiply_adds: Some(layer.multiply_adds as f64),
        output: layer.output.map(from_output),
        tutorial_name: layer.tutorial_name.unwrap_or_default(),
    }
}

fn from_parameter(parameter: ParameterReport) -> v1::ParameterReport {
    let statistics = parameter.statistics;
    v1::ParameterReport {
        shape: ints(&parameter.shape.dims),
        count: int(parameter.shape.count()),
        name: parameter.shape.name,
        mean: statistics.map(|of| of.mean),
        std: statistics.map(|of| of.std),
        min: statistics.map(|of| of.min),
        max: statistics.map(|of| of.max),
        zero_fraction: statistics.map(|of| of.zero_fraction),
    }
}

fn from_output(output: OutputReport) -> v1::OutputReport {
    let (zero_fractions, dead) =
        output.sample.map(|sample| (sample.zero_fractions, sample.dead_channels)).unwrap_or_default();
    v1::OutputReport {
        mean: Some(output.statistics.mean),
        std: Some(output.statistics.std),
        min: Some(output.statistics.min),
        max: Some(output.statistics.max),
        zero_fraction: Some(output.statistics.zero_fraction),
        channels: output.channels.into_iter().map(from_channel).collect(),
        sample_zero_fractions: zero_fractions,
        dead_channels: ints(&dead),
    }
}

fn from_channel(channel: ChannelReport) -> v1::ChannelReport {
    v1::ChannelReport {
        channel: Some(int(channel.channel)),
        output_shape: ints(&channel.output_shape),
        output: channel.output,
        kernel_shape: ints(&channel.kernel_shape),
        kernel: channel.kernel,
        bias: channel.bias,
    }
}

fn ints<T: Copy + TryInto<i32>>(values: &[T]) -> Vec<i32> {
    values.iter().map(|&value| int(value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        data::Split,
        eval::Evaluation,
        ids::{ModelName, Version},
        inspect::{Sample, Statistics},
        nn::{LayerKind, LinearConfig, ParameterShape},
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
            evaluation: Evaluation { loss: 0.5, confusion },
            seconds: 1.0,
        });
        assert_eq!((answer.name.as_str(), answer.split()), ("digits", v1::Split::Test));
        assert_eq!((answer.loss, answer.correct, answer.total), (Some(0.5), Some(2), 3));
        assert_eq!(answer.accuracy, Some(2.0 / 3.0));
        assert_eq!(answer.classes[0].label, Some(0));
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
        assert_eq!(field(|request| request.input = Some(Input::Image(v1::Image { form: None }))), "image");
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

    #[test]
    fn a_layer_is_shown_with_its_settings_shapes_and_output() {
        let statistics = Statistics { mean: 0.0, std: 1.0, min: -1.0, max: 1.0, zero_fraction: 0.25 };
        let weight = ParameterShape { name: "fc.weight".to_owned(), dims: vec![10, 980] };
        let layer = LayerReport {
            name: "fc".to_owned(),
            kind: LayerKind::Linear(LinearConfig { out_features: 10 }),
            tutorial_name: Some("outputs7".to_owned()),
            input_shape: vec![1, 980],
            output_shape: vec![1, 10],
            parameters: vec![ParameterReport { shape: weight, statistics: None }],
            multiply_adds: 9800,
            output: Some(OutputReport {
                statistics,
                channels: Vec::new(),
                sample: Some(Sample { zero_fractions: vec![1.0, 0.0], dead_channels: vec![0] }),
            }),
        };
        let layer = from_layer(layer);
        assert_eq!((layer.kind.as_str(), layer.tutorial_name.as_str()), ("linear", "outputs7"));
        assert_eq!(layer.hyperparameters["out_features"], "10");
        assert_eq!((layer.parameters[0].count, layer.parameters[0].mean), (9800, None));
        let output = layer.output.unwrap();
        assert_eq!((output.mean, output.dead_channels), (Some(0.0), vec![0]));
    }
}
