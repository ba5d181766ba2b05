//! Inspecting a network layer by layer, attributions of a prediction, and findings about the network.

use super::{
    context::{AnalysisContext, EncodedInitialWeights, EncodedWeights},
    model_info::ModelInfo,
    requests::{
        AttributionRequest, Attributions, Depth, DrawingJob, HealthJob, HealthReport, InitialWeightsOrigin,
        InspectInput, InspectJob, Inspection, ParametersJob, ParametersReport, Target,
    },
    service::{Analysis, MAX_BATCH_SIZE, SplitRequest},
};
use crate::{
    compute::{Error, RunWeights},
    data::{ImageSet, Split},
    ids::RunId,
    inspect::{self, Contents, DrawingInputs, DrawingKind, OcclusionConfig, Options},
};

impl Analysis {
    /// Inspects a version, or a run with its newest weights, which `run_weights` finds. Errors: `InvalidField`,
    /// `QueueFull`, and those of reading the weights and the data.
    pub async fn inspect<F>(
        &self,
        job: InspectJob,
        run_weights: impl FnOnce(RunId) -> F,
    ) -> Result<Inspection, Error>
    where
        F: Future<Output = Result<RunWeights, Error>>,
    {
        let batch_size = i64::try_from(job.batch_size)
            .ok()
            .filter(|size| (1..=MAX_BATCH_SIZE.into()).contains(size))
            .ok_or_else(|| {
                Error::field("batch_size", format!("is out of range: use 1 to {MAX_BATCH_SIZE}"))
            })?;
        let _permit = self.admit()?;
        let (model, weights) = self.find(&job.target, run_weights).await?;
        let initial = match &job.health {
            Some(_) => self.initial_weights(&model).await?,
            None => (InitialWeightsOrigin::Unknown, EncodedInitialWeights::Unknown),
        };
        let needs = needs(&job);
        self.run_with_network((model, weights), needs, move |context| {
            let (image, label) = match job.needs_image() {
                true => context.image(job.input)?,
                false => (Vec::new(), None),
            };
            let contents = match job.depth {
                Depth::Shapes => None,
                Depth::Contents { layers, channels, sample_images, histogram_bins, max_values } => {
                    let sample = match sample_images.unwrap_or_else(|| context.default_sample()) {
                        0 => None,
                        size => Some(context.sample(size)?),
                    };
                    let image = image.clone();
                    Some(Contents { image, layers, channels, sample, histogram_bins, max_values })
                }
            };
            let report = inspect::inspect(&context.network, &Options { batch_size, contents })?;
            context.check_wanted()?;
            let attributions = context.attribute(job.attributions, &image, label)?;
            context.check_wanted()?;
            let health = job.health.map(|health| context.examine(health, initial)).transpose()?;
            Ok(Inspection { subject: context.model.subject(), report, label, attributions, health })
        })
        .await
    }

    /// The values of the parameters that are requested.
    pub async fn parameters<F>(
        &self,
        job: ParametersJob,
        run_weights: impl FnOnce(RunId) -> F,
    ) -> Result<ParametersReport, Error>
    where
        F: Future<Output = Result<RunWeights, Error>>,
    {
        let _permit = self.admit()?;
        let found = self.find(&job.target, run_weights).await?;
        self.run_with_network(found, Vec::new(), move |context| {
            let mut stored = inspect::parameter_values(&context.network);
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
            Ok(ParametersReport { subject: context.model.subject(), parameters: stored })
        })
        .await
    }
}

impl Analysis {
    async fn find<F>(
        &self,
        target: &Target,
        run_weights: impl FnOnce(RunId) -> F,
    ) -> Result<(ModelInfo, EncodedWeights), Error>
    where
        F: Future<Output = Result<RunWeights, Error>>,
    {
        match target {
            Target::Model(model) => self.find_version(model).await,
            Target::Run(run) => self.find_run(run_weights(*run).await?).await,
        }
    }
}

impl InspectJob {
    /// The number of images of a sample by default, with which the share of zeros is known to about two
    /// percentage points.
    const SAMPLE_IMAGES: usize = 1000;

    /// Whether an image is fed through the network.
    pub fn needs_image(&self) -> bool {
        let attributions = &self.attributions;
        let contents = matches!(self.depth, Depth::Contents { .. });
        let drawn = |drawings: &DrawingJob| drawings.kinds.iter().any(|kind| *kind != DrawingKind::Kernels);
        contents
            || attributions.gradients
            || attributions.saliency
            || attributions.occlusion.is_some()
            || attributions.drawings.as_ref().is_some_and(drawn)
    }
}

/// The parts of data sets that an inspection reads.
fn needs(job: &InspectJob) -> Vec<SplitRequest> {
    let image = match &job.input {
        _ if !job.needs_image() => None,
        InspectInput::Image(_) => None,
        InspectInput::Default => Some((None, Split::Test)),
        InspectInput::Index { dataset, split, .. } => Some((dataset.clone(), *split)),
    };
    let sample = match &job.depth {
        Depth::Contents { sample_images: Some(0), .. } | Depth::Shapes => None,
        Depth::Contents { .. } => Some((None, Split::Validation)),
    };
    let health = job.health.as_ref().map(|health| (health.dataset.clone(), health.split));
    image.into_iter().chain(sample).chain(health).collect()
}

impl AnalysisContext {
    /// The image that is fed through the network, and its label if it comes from a data set.
    fn image(&self, input: InspectInput) -> Result<(Vec<f32>, Option<usize>), Error> {
        let (dataset, split, index) = match input {
            InspectInput::Image(pixels) => {
                if let Some(bad) = pixels.iter().find(|value| !(0.0..=1.0).contains(*value)) {
                    return Err(Error::field("image", format!("has a pixel of {bad}: use 0.0 to 1.0")));
                }
                return Ok((pixels, None));
            }
            InspectInput::Default => (None, Split::Test, 0),
            InspectInput::Index { dataset, split, index } => (dataset, split, index),
        };
        let dataset = self.model.dataset(dataset, "dataset_index.dataset")?;
        let images = self.images(&dataset, split, "dataset_index.dataset")?;
        if index >= images.len() {
            let message = format!("is {index}: the {split} part has {} images, counted from 0", images.len());
            return Err(Error::field("dataset_index.index", message));
        }
        let pixels = images.image(index).iter().map(|value| f32::from(*value) / 255.0).collect();
        Ok((pixels, Some(images.label(index).into())))
    }

    /// The size of the sample by default: 0 if it is not known which data set to take it from.
    fn default_sample(&self) -> usize {
        if self.model.training_dataset.is_some() { InspectJob::SAMPLE_IMAGES } else { 0 }
    }

    /// The first validation images, or test images if the network was trained without validation.
    fn sample(&self, size: usize) -> Result<ImageSet, Error> {
        let dataset = self.model.training_dataset.clone().ok_or_else(|| {
            let message = "needs a data set, and the version does not record which one it was trained on: \
                 leave the field out, or set it to 0";
            Error::field("sample_images", message)
        })?;
        let validation = self.images(&dataset, Split::Validation, "sample_images")?;
        let images = match validation.is_empty() {
            true => self.images(&dataset, Split::Test, "sample_images")?,
            false => validation,
        };
        Ok(images.slice(0..size))
    }

    /// Computes what was requested about the prediction for one image.
    fn attribute(
        &self,
        job: AttributionRequest,
        image: &[f32],
        label: Option<usize>,
    ) -> Result<Attributions, Error> {
        let network = &self.network;
        let kinds = job.drawings.as_ref().map_or(&[][..], |drawings| &drawings.kinds);
        let draws = |kind: DrawingKind| kinds.contains(&kind);
        let gradients = match job.gradients {
            true => {
                let label = gradient_label(job.label, label, network.classes())?;
                Some(inspect::gradients(network, image, label)?)
            }
            false => None,
        };
        let saliency = match job.saliency || draws(DrawingKind::Saliency) {
            true => Some(inspect::saliency(network, image, job.class)?),
            false => None,
        };
        let config = job.occlusion.or_else(|| draws(DrawingKind::Occlusion).then(OcclusionConfig::default));
        let occlusion =
            config.map(|config| inspect::occlusion(network, image, job.class, config)).transpose()?;
        let drawings = match &job.drawings {
            None => Vec::new(),
            Some(drawings) => {
                let inputs = DrawingInputs {
                    network,
                    name: &self.model.title(),
                    image,
                    layers: &drawings.layers,
                    channels: &drawings.channels,
                    saliency: saliency.as_ref(),
                    occlusion: occlusion.as_ref(),
                };
                inspect::draw(&drawings.kinds, &inputs)?
            }
        };
        Ok(Attributions {
            gradients,
            saliency: saliency.filter(|_| job.saliency),
            occlusion: occlusion.filter(|_| job.occlusion.is_some()),
            drawings,
        })
    }

    /// Examines the network over a split.
    fn examine(
        &self,
        job: HealthJob,
        (origin, initial): (InitialWeightsOrigin, EncodedInitialWeights),
    ) -> Result<HealthReport, Error> {
        let dataset = self.model.dataset(job.dataset, "health.dataset")?;
        let images = self.images(&dataset, job.split, "health.dataset")?;
        if images.is_empty() {
            return Err(Error::field("health.split", format!("has no images in the {} part", job.split)));
        }
        let images = images.slice(0..job.max_images.unwrap_or(usize::MAX));
        let initial = initial.decode(&self.model, self.device)?;
        let known = initial.as_ref().map_or(inspect::InitialWeights::Unknown, inspect::InitialWeights::Known);
        let health = inspect::examine(&self.network, &images, known, &|| self.is_wanted());
        let health = health.ok_or(Error::DeadlineExceeded)?;
        Ok(HealthReport { health, dataset: dataset.name, split: job.split, initial: origin })
    }
}

/// The label whose loss the gradients are of: the one of the data set, or the requested one for an image of the
/// caller.
fn gradient_label(
    requested: Option<usize>,
    from_dataset: Option<usize>,
    classes: usize,
) -> Result<usize, Error> {
    match (requested, from_dataset) {
        (Some(label), None) if label >= classes => {
            Err(Error::field("label", format!("is {label}: use 0 to {}", classes - 1)))
        }
        (None, Some(label)) | (Some(label), None) => Ok(label),
        (Some(_), Some(_)) => {
            Err(Error::field("label", "is given for an image of a data set, which has its own: leave it out"))
        }
        (None, None) => Err(Error::field("label", "is missing: say which class the image shows")),
    }
}
