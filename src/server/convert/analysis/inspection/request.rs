//! Requests to inspect a network.

use crate::{
    data::Split,
    engine::{
        AttributionRequest, Channels, Depth, DrawingJob, HealthJob, InspectInput, InspectJob, MAX_BATCH_SIZE,
    },
    ids::FieldError,
    inspect::DrawingKind,
    nn::NetworkConfig,
    pb::digitd::v1::{self, inspect_request::Input},
    server::convert::{
        analysis::{attribution, target::target},
        shared::{
            dataset,
            enums::ContractEnum,
            field::{ANY, count},
        },
    },
};

/// Most channels that one request may name; networks have a few dozen.
const MAX_CHANNELS: usize = 4096;

/// The range of `max_answer_bytes` and its default, which is just below the 4 MiB that clients of gRPC accept
/// by default.
const MIN_ANSWER_BYTES: u32 = 65_536;
const MAX_ANSWER_BYTES: u32 = 256 << 20;
const DEFAULT_ANSWER_BYTES: u32 = 4_000_000;

/// An inspection, with the parts of its request that the job does not have.
#[derive(Debug)]
pub struct InspectParams {
    pub job: InspectJob,
    /// The image that replaces the input of the job. It can be checked only when the target is known.
    pub image: Option<OwnImage>,
    pub max_answer_bytes: usize,
}

/// An image that comes with the request.
#[derive(Debug)]
pub struct OwnImage {
    pub image: v1::Image,
    pub normalization: i32,
}

pub fn inspect_request(request: v1::InspectRequest) -> Result<InspectParams, FieldError> {
    check_use(&request)?;
    let max_answer_bytes = count(
        "max_answer_bytes",
        request.max_answer_bytes,
        MIN_ANSWER_BYTES..=MAX_ANSWER_BYTES,
        DEFAULT_ANSWER_BYTES,
    )? as usize;
    let channels = channels(&request)?;
    if request.layers.len() > NetworkConfig::MAX_LAYERS {
        let message = format!(
            "has {} names: a network has at most {}",
            request.layers.len(),
            NetworkConfig::MAX_LAYERS
        );
        return Err(FieldError::new("layers", message));
    }
    let sample_images = request.sample_images;
    let sample_images = sample_images.map(|images| {
        count("sample_images", Some(images), 0..=dataset::MAX_IMAGES, 0).map(|images| images as usize)
    });
    let sample_images = sample_images.transpose()?;
    let histogram_bins = count("histogram_bins", request.histogram_bins, 0..=256, 20)? as usize;
    let depth = match request.contents {
        false => Depth::Shapes,
        true => Depth::Contents {
            layers: request.layers.clone(),
            channels: channels.clone(),
            sample_images,
            histogram_bins,
            max_values: max_answer_bytes / size_of::<f64>(),
        },
    };
    let class = |field: &str, class: Option<i32>| {
        class.map(|class| count(field, Some(class), 0..=ANY, 0).map(|class| class as usize)).transpose()
    };
    let kinds = drawing_kinds(&request.drawings)?;
    let study = AttributionRequest {
        gradients: request.gradients,
        label: class("label", request.label)?,
        saliency: request.saliency,
        occlusion: request.occlusion.map(attribution::occlusion_config).transpose()?,
        class: class("target_class", request.target_class)?,
        drawings: (!kinds.is_empty()).then_some(DrawingJob { kinds, layers: request.layers, channels }),
    };
    let (input, image) = input(request.input, request.normalization)?;
    let job = InspectJob {
        target: target(request.model, &request.run_id)?,
        input,
        batch_size: count("batch_size", request.batch_size, 1..=MAX_BATCH_SIZE, 1)? as usize,
        depth,
        attributions: study,
        health: request.health.map(health_job).transpose()?,
    };
    Ok(InspectParams { job, image, max_answer_bytes })
}

/// The input of the job, and the caller's own image in its place.
fn input(given: Option<Input>, normalization: i32) -> Result<(InspectInput, Option<OwnImage>), FieldError> {
    Ok(match given {
        None => (InspectInput::Default, None),
        Some(Input::Image(image)) => (InspectInput::Default, Some(OwnImage { image, normalization })),
        Some(Input::DatasetIndex(at)) => {
            let input = InspectInput::Index {
                dataset: dataset::dataset("dataset_index.dataset", at.dataset)?,
                split: Split::parse("dataset_index.split", at.split)?,
                index: count("dataset_index.index", Some(at.index), 0..=ANY, 0)? as usize,
            };
            (input, None)
        }
    })
}

/// Rejects fields that choose among outputs which the request does not ask for.
fn check_use(request: &v1::InspectRequest) -> Result<(), FieldError> {
    let drawn = |kind: v1::DrawingKind| request.drawings.contains(&kind.into());
    let (contents, drawings) = (request.contents, !request.drawings.is_empty());
    let pointed = request.saliency
        || request.occlusion.is_some()
        || drawn(v1::DrawingKind::Saliency)
        || drawn(v1::DrawingKind::Occlusion);
    let rejected = |field: &str, what: &str| {
        Err(FieldError::new(
            field,
            format!("chooses {what}, which is not requested: set it, or leave this out"),
        ))
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
            return rejected(field, "contents");
        }
    }
    if request.normalization != 0 && !matches!(request.input, Some(Input::Image(_))) {
        let message = "is for an image of your own, and none is given: leave it out";
        return Err(FieldError::new("normalization", message));
    }
    if request.label.is_some() && !request.gradients {
        return rejected("label", "the label of gradients");
    }
    if request.target_class.is_some() && !pointed {
        return rejected("target_class", "the class of saliency or occlusion");
    }
    Ok(())
}

fn channels(request: &v1::InspectRequest) -> Result<Channels, FieldError> {
    let seed = count("channel_seed", request.channel_seed, 0..=ANY, 0)?;
    let chosen = !request.channels.is_empty();
    if request.all_channels && (chosen || request.channel_seed.is_some()) {
        let message = "is set, and some channels are chosen: do either";
        return Err(FieldError::new("all_channels", message));
    }
    Ok(match (request.all_channels, chosen) {
        (true, _) => Channels::All,
        (false, true) => Channels::Chosen(chosen_channels(&request.channels)?),
        (false, false) => Channels::Random(seed.into()),
    })
}

fn chosen_channels(channels: &[i32]) -> Result<Vec<i64>, FieldError> {
    if channels.len() > MAX_CHANNELS {
        let message = format!("has {} entries: name at most {MAX_CHANNELS}", channels.len());
        return Err(FieldError::new("channels", message));
    }
    let channels = channels.iter().enumerate().map(|(index, &channel)| {
        count(&format!("channels[{index}]"), Some(channel), 0..=ANY, 0).map(i64::from)
    });
    channels.collect()
}

fn drawing_kinds(requested: &[i32]) -> Result<Vec<DrawingKind>, FieldError> {
    let mut kinds = Vec::new();
    for (index, &kind) in requested.iter().enumerate() {
        let field = format!("drawings[{index}]");
        let kind = DrawingKind::parse(&field, kind)?;
        if kinds.contains(&kind) {
            return Err(FieldError::new(field, "is named twice: name each kind once"));
        }
        kinds.push(kind);
    }
    Ok(kinds)
}

fn health_job(request: v1::HealthRequest) -> Result<HealthJob, FieldError> {
    let images = request.max_images;
    let images = images
        .map(|images| count("health.max_images", Some(images), 1..=dataset::MAX_IMAGES, 1))
        .transpose()?;
    Ok(HealthJob {
        dataset: dataset::dataset("health.dataset", request.dataset)?,
        split: Split::parse("health.split", request.split)?,
        max_images: images.map(|images| images as usize),
    })
}
