//! Requests to show a network, and the answers as a whole; their parts are `inspection`'s, `attribution`'s
//! and `findings`'.

use super::{
    attribution, dataset,
    field::{ANY, Invalid, choice, count, int},
    findings,
    inspection::from_report,
    model,
    precision::from_precision,
    run,
};
use crate::{
    engine::{
        Channels, Depth, DrawingJob, HealthJob, InspectInput, Inspected, MAX_BATCH_SIZE, RunMoment, Shown,
        StudyJob, Target, WeightsOrigin,
    },
    inspect::DrawingKind,
    nn::NetworkConfig,
    pb::digitd::v1::{self, inspect_request::Input},
};

/// Most channels that one request may name; networks have a few dozen.
const MOST_CHANNELS: usize = 4096;

/// Most images of a set that is looked at.
pub const MOST_IMAGES: u32 = 60_000;

/// Bytes of an answer: the fewest and most that a caller may take, and what it takes where it does not
/// say. Just below the 4 MiB that gRPC's clients take unless told otherwise.
const FEWEST_BYTES: u32 = 65_536;
const MOST_BYTES: u32 = 256 << 20;
const DEFAULT_BYTES: u32 = 4_000_000;

/// A request to show a network whose form is right.
#[derive(Debug)]
pub struct Inspection {
    pub target: Target,
    pub input: Subject,
    pub batch_size: usize,
    pub depth: Depth,
    pub study: StudyJob,
    pub health: Option<HealthJob>,
    pub max_answer_bytes: usize,
}

/// The picture of an inspection; one of the caller's own is for the network to bear.
#[derive(Debug)]
pub enum Subject {
    Stored(InspectInput),
    Own { image: v1::Image, normalization: i32 },
}

pub fn inspect_request(request: v1::InspectRequest) -> Result<Inspection, Invalid> {
    check_use(&request)?;
    let max_answer_bytes =
        count("max_answer_bytes", request.max_answer_bytes, FEWEST_BYTES..=MOST_BYTES, DEFAULT_BYTES)?
            as usize;
    let channels = channels(&request)?;
    if request.layers.len() > NetworkConfig::MAX_LAYERS {
        let message = format!(
            "has {} names: a network has at most {}",
            request.layers.len(),
            NetworkConfig::MAX_LAYERS
        );
        return Err(Invalid::new("layers", message));
    }
    let sample_images = request.sample_images;
    let sample_images = sample_images
        .map(|images| count("sample_images", Some(images), 0..=MOST_IMAGES, 0).map(|images| images as usize));
    let sample_images = sample_images.transpose()?;
    let histogram_bins = count("histogram_bins", request.histogram_bins, 0..=256, 20)? as usize;
    let depth = match request.contents {
        false => Depth::Shapes,
        true => Depth::Contents {
            layers: request.layers.clone(),
            channels: channels.clone(),
            sample_images,
            histogram_bins,
            most_numbers: max_answer_bytes / size_of::<f64>(),
        },
    };
    let class = |field: &str, class: Option<i32>| {
        class.map(|class| count(field, Some(class), 0..=ANY, 0).map(|class| class as usize)).transpose()
    };
    let kinds = drawing_kinds(&request.drawings)?;
    let study = StudyJob {
        gradients: request.gradients,
        label: class("label", request.label)?,
        saliency: request.saliency,
        occlusion: request.occlusion.map(attribution::occlusion_config).transpose()?,
        class: class("target_class", request.target_class)?,
        drawings: (!kinds.is_empty()).then_some(DrawingJob { kinds, layers: request.layers, channels }),
    };
    Ok(Inspection {
        target: target(request.model, &request.run_id)?,
        batch_size: count("batch_size", request.batch_size, 1..=MAX_BATCH_SIZE, 1)? as usize,
        depth,
        study,
        health: request.health.map(health_job).transpose()?,
        input: input(request.input, request.normalization)?,
        max_answer_bytes,
    })
}

/// A version or a run.
pub fn target(model: Option<v1::ModelRef>, run_id: &str) -> Result<Target, Invalid> {
    match (model, run_id) {
        (model, "") => Ok(Target::Model(model::reference("model", model)?)),
        (None, id) => Ok(Target::Run(run::run_id(id)?)),
        (Some(model), id) if model == v1::ModelRef::default() => Ok(Target::Run(run::run_id(id)?)),
        (Some(_), _) => Err(Invalid::new("run_id", "is given beside a model: name one of the two")),
    }
}

fn input(given: Option<Input>, normalization: i32) -> Result<Subject, Invalid> {
    Ok(match given {
        None => Subject::Stored(InspectInput::Default),
        Some(Input::Image(image)) => Subject::Own { image, normalization },
        Some(Input::DatasetIndex(at)) => Subject::Stored(InspectInput::Index {
            dataset: dataset::dataset("dataset_index.dataset", at.dataset)?,
            split: dataset::split("dataset_index.split", at.split)?,
            index: count("dataset_index.index", Some(at.index), 0..=ANY, 0)? as usize,
        }),
    })
}

/// What chooses among things that are not asked for says nothing.
fn check_use(request: &v1::InspectRequest) -> Result<(), Invalid> {
    let drawn = |kind: v1::DrawingKind| request.drawings.contains(&kind.into());
    let (contents, drawings) = (request.contents, !request.drawings.is_empty());
    let pointed = request.saliency
        || request.occlusion.is_some()
        || drawn(v1::DrawingKind::Saliency)
        || drawn(v1::DrawingKind::Occlusion);
    let refused = |field: &str, what: &str| {
        Err(Invalid::new(field, format!("chooses {what}, which is not asked for: set it, or leave this out")))
    };
    for (field, given, of_drawings) in [
        ("layers", !request.layers.is_empty(), true),
        ("channels", !request.channels.is_empty(), true),
        ("channel_seed", request.channel_seed.is_some(), false),
        ("sample_images", request.sample_images.is_some(), false),
        ("all_channels", request.all_channels, false),
        ("histogram_bins", request.histogram_bins.is_some(), false),
    ] {
        if given && !contents && !(of_drawings && drawings) {
            return refused(field, "contents");
        }
    }
    if request.normalization != 0 && !matches!(request.input, Some(Input::Image(_))) {
        let message = "is for an image of your own, and none is given: leave it out";
        return Err(Invalid::new("normalization", message));
    }
    if request.label.is_some() && !request.gradients {
        return refused("label", "the label of gradients");
    }
    if request.target_class.is_some() && !pointed {
        return refused("target_class", "the class of saliency or occlusion");
    }
    Ok(())
}

fn channels(request: &v1::InspectRequest) -> Result<Channels, Invalid> {
    let seed = count("channel_seed", request.channel_seed, 0..=ANY, 0)?;
    let chosen = !request.channels.is_empty();
    if request.all_channels && (chosen || request.channel_seed.is_some()) {
        let message = "is set, and some channels are chosen: do either";
        return Err(Invalid::new("all_channels", message));
    }
    Ok(match (request.all_channels, chosen) {
        (true, _) => Channels::All,
        (false, true) => Channels::Chosen(chosen_channels(&request.channels)?),
        (false, false) => Channels::Random(seed.into()),
    })
}

fn chosen_channels(channels: &[i32]) -> Result<Vec<i64>, Invalid> {
    if channels.len() > MOST_CHANNELS {
        let message = format!("has {} entries: name at most {MOST_CHANNELS}", channels.len());
        return Err(Invalid::new("channels", message));
    }
    let channels = channels.iter().enumerate().map(|(index, &channel)| {
        count(&format!("channels[{index}]"), Some(channel), 0..=ANY, 0).map(i64::from)
    });
    channels.collect()
}

fn drawing_kinds(asked: &[i32]) -> Result<Vec<DrawingKind>, Invalid> {
    let mut kinds = Vec::new();
    for (index, &kind) in asked.iter().enumerate() {
        let field = format!("drawings[{index}]");
        let kind = match choice(&field, kind)? {
            v1::DrawingKind::Unspecified => {
                return Err(Invalid::new(field, "is unspecified: name a kind of drawing"));
            }
            v1::DrawingKind::Kernels => DrawingKind::Kernels,
            v1::DrawingKind::FeatureMaps => DrawingKind::FeatureMaps,
            v1::DrawingKind::Saliency => DrawingKind::Saliency,
            v1::DrawingKind::Occlusion => DrawingKind::Occlusion,
            v1::DrawingKind::Histograms => DrawingKind::Histograms,
        };
        if kinds.contains(&kind) {
            return Err(Invalid::new(field, "is asked for twice: name each kind once"));
        }
        kinds.push(kind);
    }
    Ok(kinds)
}

fn health_job(request: v1::HealthRequest) -> Result<HealthJob, Invalid> {
    let images = request.max_images;
    let images =
        images.map(|images| count("health.max_images", Some(images), 1..=MOST_IMAGES, 1)).transpose()?;
    Ok(HealthJob {
        dataset: dataset::dataset("health.dataset", request.dataset)?,
        split: dataset::split("health.split", request.split)?,
        max_images: images.map(|images| images as usize),
    })
}

pub fn from_inspected(inspected: Inspected) -> v1::InspectResponse {
    let Shown { model, version, run, class_names, precision } = inspected.shown;
    let study = inspected.study;
    v1::InspectResponse {
        name: model.to_string(),
        version: version.map(|version| int(version.get())).unwrap_or_default(),
        label: inspected.label.map(int),
        label_name: inspected.label.and_then(|label| class_names.get(label).cloned()),
        class_names,
        run: run.map(from_moment),
        gradients: study.gradients.map(attribution::from_gradients),
        saliency: study.saliency.map(attribution::from_saliency),
        occlusion: study.occlusion.map(attribution::from_occlusion),
        health: inspected.health.map(findings::from_health),
        drawings: study.drawings.into_iter().map(attribution::from_drawing).collect(),
        precision: from_precision(precision).into(),
        ..from_report(inspected.report)
    }
}

pub fn from_moment(moment: RunMoment) -> v1::RunMoment {
    let origin = match moment.origin {
        WeightsOrigin::Training => v1::WeightsOrigin::Training,
        WeightsOrigin::Checkpoint => v1::WeightsOrigin::Checkpoint,
        WeightsOrigin::Version => v1::WeightsOrigin::Version,
    };
    let told = |number: u32| (number > 0).then(|| int(number));
    v1::RunMoment {
        run_id: moment.run.to_string(),
        state: super::event::from_state(moment.state).into(),
        epoch: int(moment.at.epoch),
        batch: told(moment.at.batch),
        step: told(moment.at.step),
        origin: origin.into(),
    }
}

#[cfg(test)]
mod tests;
