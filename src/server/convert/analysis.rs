//! Requests to show a version, and their answers.

use super::{
    dataset,
    field::{ANY, Invalid, count, int},
    inspection::from_report,
    model,
};
use crate::{
    engine::{Channels, Depth, InspectInput, Inspected},
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
