//! Showing a network layer by layer, what an answer rests on, and what is wrong.

use super::{Analysis, Need, Sitter, sitter::Start};
use crate::{
    data::{ImageSet, Split},
    engine::{
        Depth, DrawingJob, Error, HealthJob, InspectInput, InspectJob, Inspected, ParametersJob, StartFrom,
        Studied, StudiedHealth, StudyJob, Values, training::Training,
    },
    inspect::{self, Contents, DrawingKind, OcclusionConfig, Options, Scene},
};

impl Analysis {
    pub async fn inspect(&self, job: InspectJob, training: &Training) -> Result<Inspected, Error> {
        let batch_size = i64::try_from(job.batch_size)
            .ok()
            .filter(|size| (1..=super::MAX_BATCH_SIZE.into()).contains(size))
            .ok_or_else(|| {
                Error::field("batch_size", format!("is out of range: use 1 to {}", super::MAX_BATCH_SIZE))
            })?;
        let _permit = self.admit()?;
        let (about, weights) = self.find(&job.target, training).await?;
        let start = match &job.health {
            Some(_) => self.start_of(&about).await?,
            None => (StartFrom::Unknown, Start::Unknown),
        };
        let needs = needs(&job);
        self.sit((about, weights), needs, move |sitter| {
            let (picture, label) = match job.needs_picture() {
                true => sitter.picture(job.input)?,
                false => (Vec::new(), None),
            };
            let contents = match job.depth {
                Depth::Shapes => None,
                Depth::Contents { layers, channels, sample_images, histogram_bins, most_numbers } => {
                    let sample = match sample_images.unwrap_or_else(|| sitter.default_sample()) {
                        0 => None,
                        size => Some(sitter.sample(size)?),
                    };
                    let picture = picture.clone();
                    Some(Contents { picture, layers, channels, sample, histogram_bins, most_numbers })
                }
            };
            let report = inspect::inspect(&sitter.network, &Options { batch_size, contents })?;
            sitter.check_wanted()?;
            let study = sitter.study(job.study, &picture, label)?;
            sitter.check_wanted()?;
            let health = job.health.map(|health| sitter.health(health, start)).transpose()?;
            Ok(Inspected { shown: sitter.about.shown(), report, label, study, health })
        })
        .await
    }

    /// The values of the parameters that are asked for.
    pub async fn parameters(&self, job: ParametersJob, training: &Training) -> Result<Values, Error> {
        let _permit = self.admit()?;
        let found = self.find(&job.target, training).await?;
        self.sit(found, Vec::new(), move |sitter| {
            let mut stored = inspect::stored(&sitter.network);
            if let Some(unknown) = job.names.iter().find(|name| stored.iter().all(|it| it.name != **name)) {
                // A hostile name may be long: the message quotes its beginning only.
                let unknown: String = unknown.chars().take(64).collect();
                let known: Vec<&str> = stored.iter().map(|it| it.name.as_str()).collect();
                let message = format!("has {unknown:?}: the parameters are {}", known.join(", "));
                return Err(Error::field("names", message));
            }
            if !job.names.is_empty() {
                stored.retain(|it| job.names.contains(&it.name));
            }
            Ok((sitter.about.shown(), stored))
        })
        .await
    }
}

impl InspectJob {
    /// Of a sample where no number is asked for.
    const SAMPLE_IMAGES: usize = 1000;

    /// Whether a picture goes through the network.
    pub fn needs_picture(&self) -> bool {
        let study = &self.study;
        let contents = matches!(self.depth, Depth::Contents { .. });
        let drawn = |drawings: &DrawingJob| drawings.kinds.iter().any(|kind| *kind != DrawingKind::Kernels);
        contents
            || study.gradients
            || study.saliency
            || study.occlusion.is_some()
            || study.drawings.as_ref().is_some_and(drawn)
    }
}

/// What an inspection reads.
fn needs(job: &InspectJob) -> Vec<Need> {
    let picture = match &job.input {
        _ if !job.needs_picture() => None,
        InspectInput::Picture(_) => None,
        InspectInput::Default => Some((None, Split::Test)),
        InspectInput::Index { dataset, split, .. } => Some((dataset.clone(), *split)),
    };
    let sample = match &job.depth {
        Depth::Contents { sample_images: Some(0), .. } | Depth::Shapes => None,
        Depth::Contents { .. } => Some((None, Split::Validation)),
    };
    let health = job.health.as_ref().map(|health| (health.dataset.clone(), health.split));
    picture.into_iter().chain(sample).chain(health).collect()
}

impl Sitter {
    /// The picture that goes through the network, and its label where it comes from a data set.
    fn picture(&self, input: InspectInput) -> Result<(Vec<f32>, Option<usize>), Error> {
        let (dataset, split, index) = match input {
            InspectInput::Picture(picture) => {
                if let Some(bad) = picture.iter().find(|value| !(0.0..=1.0).contains(*value)) {
                    return Err(Error::field("image", format!("has a pixel of {bad}: use 0.0 to 1.0")));
                }
                return Ok((picture, None));
            }
            InspectInput::Default => (None, Split::Test, 0),
            InspectInput::Index { dataset, split, index } => (dataset, split, index),
        };
        let dataset = self.about.dataset(dataset, "dataset_index.dataset")?;
        let images = self.images(&dataset, split, "dataset_index.dataset")?;
        if index >= images.len() {
            let message = format!("is {index}: the {split} part has {} images, counted from 0", images.len());
            return Err(Error::field("dataset_index.index", message));
        }
        let picture = images.image(index).iter().map(|value| f32::from(*value) / 255.0).collect();
        Ok((picture, Some(images.label(index).into())))
    }

    /// Images of the sample where none are asked for: none where it is not known what to take them from.
    fn default_sample(&self) -> usize {
        if self.about.own_dataset.is_some() { InspectJob::SAMPLE_IMAGES } else { 0 }
    }

    /// The first images that the network was validated on, or tested on where it was not.
    fn sample(&self, size: usize) -> Result<ImageSet, Error> {
        let dataset = self.about.own_dataset.clone().ok_or_else(|| {
            let message =
                "cannot be taken: the version does not tell what it was trained on; leave it out, or 0";
            Error::field("sample_images", message)
        })?;
        let validation = self.images(&dataset, Split::Validation, "sample_images")?;
        let images = match validation.is_empty() {
            true => self.images(&dataset, Split::Test, "sample_images")?,
            false => validation,
        };
        Ok(images.slice(0..size))
    }

    fn study(&self, job: StudyJob, picture: &[f32], label: Option<usize>) -> Result<Studied, Error> {
        let network = &self.network;
        let kinds = job.drawings.as_ref().map_or(&[][..], |drawings| &drawings.kinds);
        let draws = |kind: DrawingKind| kinds.contains(&kind);
        let gradients = match job.gradients {
            true => {
                let label = the_label(job.label, label, network.classes())?;
                Some(inspect::gradients(network, picture, label)?)
            }
            false => None,
        };
        let saliency = match job.saliency || draws(DrawingKind::Saliency) {
            true => Some(inspect::saliency(network, picture, job.class)?),
            false => None,
        };
        let config = job.occlusion.or_else(|| draws(DrawingKind::Occlusion).then(OcclusionConfig::default));
        let occlusion =
            config.map(|config| inspect::occlusion(network, picture, job.class, config)).transpose()?;
        let drawings = match &job.drawings {
            None => Vec::new(),
            Some(drawings) => {
                let scene = Scene {
                    network,
                    name: &self.about.title(),
                    picture,
                    layers: &drawings.layers,
                    channels: &drawings.channels,
                    saliency: saliency.as_ref(),
                    occlusion: occlusion.as_ref(),
                };
                inspect::draw(&drawings.kinds, &scene)?
            }
        };
        Ok(Studied {
            gradients,
            saliency: saliency.filter(|_| job.saliency),
            occlusion: occlusion.filter(|_| job.occlusion.is_some()),
            drawings,
        })
    }

    fn health(&self, job: HealthJob, (from, start): (StartFrom, Start)) -> Result<StudiedHealth, Error> {
        let dataset = self.about.dataset(job.dataset, "health.dataset")?;
        let images = self.images(&dataset, job.split, "health.dataset")?;
        if images.is_empty() {
            return Err(Error::field("health.split", format!("has no images in the {} part", job.split)));
        }
        let images = images.slice(0..job.max_images.unwrap_or(usize::MAX));
        let start = start.read(&self.about, self.device)?;
        let known = start.as_ref().map_or(inspect::Start::Unknown, inspect::Start::Known);
        let health = inspect::examine(&self.network, &images, known, &|| self.is_wanted());
        let health = health.ok_or(Error::DeadlineExceeded)?;
        Ok(StudiedHealth { health, dataset: dataset.name, split: job.split, start: from })
    }
}

/// A picture of a data set has its label; one of the caller's own has the one that is told.
fn the_label(told: Option<usize>, known: Option<usize>, classes: usize) -> Result<usize, Error> {
    match (told, known) {
        (Some(label), None) if label >= classes => {
            Err(Error::field("label", format!("is {label}: use 0 to {}", classes - 1)))
        }
        (None, Some(label)) | (Some(label), None) => Ok(label),
        (Some(_), Some(_)) => Err(Error::field(
            "label",
            "is given for a picture of a data set, which has its own: leave it out",
        )),
        (None, None) => Err(Error::field("label", "is missing: say which class the picture shows")),
    }
}

impl From<inspect::Error> for Error {
    fn from(error: inspect::Error) -> Self {
        use inspect::Error as E;
        let message = error.to_string();
        match error {
            E::UnknownLayer { .. } => Self::field("layers", format!("are wrong: {message}")),
            E::TooMuch { .. } => Self::field("channels", format!("are too many: {message}")),
            E::UnknownChannel { .. } => Self::field("channels", format!("are wrong: {message}")),
            E::PictureSize { given, expected } => {
                Self::field("image", format!("has {given} pixels: use {expected}"))
            }
            E::UnknownClass { class, classes } => {
                Self::field("target_class", format!("is {class}: use 0 to {}", classes - 1))
            }
            E::Occlusion { field, message } => Self::field(format!("occlusion.{field}"), message),
            E::Drawing(details) => Self::backend("drawing", details),
        }
    }
}
