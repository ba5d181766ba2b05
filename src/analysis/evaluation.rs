//! Evaluating a version: measures of its predictions over a part of a data set, with the misclassified images, a second
//! version beside it, and the temperature that would calibrate it.

use std::{ops::ControlFlow, time::Instant};

use tokio::sync::watch;

use super::{
    context::AnalysisContext,
    evaluation_report::{EvaluationReport, MisclassifiedImage, SecondVersion, TemperatureFit},
    gate::Gate,
    model_info::{ModelInfo, check_fit},
    service::{Analysis, MAX_BATCH_SIZE},
};
use crate::{
    compute::Error,
    data::{DatasetSpec, DeviceSet, ImageSet, Split, image},
    eval,
    ids::VersionRef,
    metric::{Measures, PairedComparison, Predictions, calibration, temperature},
    nn::Network,
    registry::ModelRef,
};

/// The largest number of changed predictions that a comparison lists.
const MAX_CHANGED: usize = 100;

/// An evaluation that a caller requests: a model, and the images that it is measured on.
#[derive(Debug, Clone)]
pub struct EvaluateJob {
    pub model: ModelRef,
    /// A second version for the same images.
    pub compare_to: Option<ModelRef>,
    /// The data set; by default the one that the version was trained on.
    pub dataset: Option<DatasetSpec>,
    pub split: Split,
    /// Images per forward pass, and per batch of the means over batches.
    pub batch_size: usize,
    /// The number of bins of the reliability diagram.
    pub bins: usize,
    /// The largest number of misclassified images to report.
    pub misclassified: usize,
    /// Whether they come with their images as PNG.
    pub pngs: bool,
    /// Whether to fit a temperature on validation images.
    pub fit_temperature: bool,
    pub gate: Gate,
}

impl EvaluateJob {
    pub const BATCH_SIZE: usize = 1000;
    pub const BINS: usize = 15;
    pub const MISCLASSIFIED: usize = 10;

    /// An evaluation on all test images, with every setting at its default.
    pub fn of(model: ModelRef) -> Self {
        Self {
            model,
            compare_to: None,
            dataset: None,
            split: Split::Test,
            batch_size: Self::BATCH_SIZE,
            bins: Self::BINS,
            misclassified: Self::MISCLASSIFIED,
            pngs: false,
            fit_temperature: false,
            gate: Gate::default(),
        }
    }
}

/// The progress of an evaluation counts the images that it has read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EvaluationProgress {
    pub images: usize,
    pub total: usize,
}

/// Reports progress, and stops when the caller disconnects.
struct ProgressReporter<'a> {
    progress: &'a watch::Sender<EvaluationProgress>,
    context: &'a AnalysisContext,
    before: usize,
    total: usize,
}

impl Analysis {
    /// Evaluates a version; its requirements are for `gate` to check. `progress` is updated after every batch, and
    /// dropped when the work has ended or was abandoned because its caller disconnected.
    pub async fn evaluate(
        &self,
        job: EvaluateJob,
        progress: watch::Sender<EvaluationProgress>,
    ) -> Result<EvaluationReport, Error> {
        let permit = self.admit()?;
        let found = self.find_version(&job.model).await?;
        let other = match &job.compare_to {
            Some(model) => Some(self.find_version(model).await?),
            None => None,
        };
        let mut needs = vec![(job.dataset.clone(), job.split)];
        if job.fit_temperature {
            needs.push((job.dataset.clone(), Split::Validation));
        }
        self.run_with_network(permit, found, needs, move |context| {
            let began = Instant::now();
            let other = match other {
                Some((model, weights)) => Some((model, weights.decode(context.device)?.0)),
                None => None,
            };
            let mut evaluated = measure(context, other, job, &progress)?;
            evaluated.seconds = began.elapsed().as_secs_f64();
            Ok(evaluated)
        })
        .await
    }
}

fn measure(
    context: AnalysisContext,
    other: Option<(ModelInfo, Network)>,
    job: EvaluateJob,
    progress: &watch::Sender<EvaluationProgress>,
) -> Result<EvaluationReport, Error> {
    check(&job, context.model.dims.classes)?;
    let dataset = context.model.dataset(job.dataset.clone(), "dataset")?;
    let images = context.images(&dataset, job.split, "dataset")?;
    if images.is_empty() {
        return Err(Error::field("split", format!("has no images in the {} part", job.split)));
    }
    if let Some((model, _)) = &other {
        check_fit(model.dims, &images, "compare_to")?;
    }
    let validation = match job.fit_temperature {
        true => Some(validation(&context, &dataset)?),
        false => None,
    };
    let passes = 1 + usize::from(other.is_some());
    let total = passes * images.len() + validation.as_ref().map_or(0, ImageSet::len);
    let mut reporter = ProgressReporter { progress, context: &context, before: 0, total };
    reporter.begin();

    let set = DeviceSet::new(&images, context.device);
    let predictions = reporter.predict(&context.network, &set, job.batch_size)?;
    let comparison = match other {
        Some((model, network)) => {
            let second = reporter.predict(&network, &set, job.batch_size)?;
            Some(second_version(&predictions, &second, model, &job))
        }
        None => None,
    };
    drop(set);
    let temperature = match validation {
        Some(validation) => {
            let set = DeviceSet::new(&validation, context.device);
            let fitted_on = reporter.predict(&context.network, &set, job.batch_size)?;
            Some(fit_temperature(&predictions, &fitted_on, validation.digest(), job.bins))
        }
        None => None,
    };
    let VersionRef { model, version } = context.model.version_ref();
    Ok(EvaluationReport {
        measures: Measures::of(&predictions, job.batch_size, job.bins),
        misclassified: misclassified(&predictions, &images, &job),
        digest: images.digest(),
        model,
        version,
        class_names: context.model.class_names,
        dataset,
        split: job.split,
        temperature,
        comparison,
        results: Vec::new(),
        promoted: None,
        seconds: 0.0,
    })
}

fn check(job: &EvaluateJob, classes: usize) -> Result<(), Error> {
    if !(1..=MAX_BATCH_SIZE as usize).contains(&job.batch_size) {
        let message = format!("is {}: use 1 to {MAX_BATCH_SIZE}", job.batch_size);
        return Err(Error::field("batch_size", message));
    }
    if job.bins == 0 {
        return Err(Error::field("calibration_bins", "is 0: use 1 or more"));
    }
    job.gate.check(classes)
}

/// The images that a temperature is fitted on.
fn validation(context: &AnalysisContext, dataset: &DatasetSpec) -> Result<ImageSet, Error> {
    let images = context.images(dataset, Split::Validation, "dataset")?;
    if images.is_empty() {
        let message = "needs validation images, and the version's run held none out: leave it out";
        return Err(Error::field("fit_temperature", message));
    }
    Ok(images)
}

fn second_version(
    first: &Predictions,
    second: &Predictions,
    model: ModelInfo,
    job: &EvaluateJob,
) -> SecondVersion {
    let VersionRef { model: name, version } = model.version_ref();
    SecondVersion {
        model: name,
        version,
        class_names: model.class_names,
        measures: Measures::of(second, job.batch_size, job.bins),
        paired: PairedComparison::of(first, second, MAX_CHANGED),
    }
}

fn fit_temperature(
    measured: &Predictions,
    validation: &Predictions,
    digest: String,
    bins: usize,
) -> TemperatureFit {
    let temperature = temperature(validation);
    let after = temperature.map(|temperature| measured.with_temperature(temperature));
    TemperatureFit {
        temperature,
        images: validation.len(),
        digest,
        loss: after.as_ref().map(Predictions::mean_loss),
        calibration_error: after.and_then(|after| Some(calibration(&after, bins)?.error)),
    }
}

fn misclassified(predictions: &Predictions, images: &ImageSet, job: &EvaluateJob) -> Vec<MisclassifiedImage> {
    let png = |index| image::to_png(images.image(index), images.width(), images.height());
    let describe = |index| MisclassifiedImage {
        index,
        label: predictions.label(index),
        predicted: predictions.predicted(index),
        loss: predictions.loss(index),
        probabilities: predictions.probabilities(index),
        png: job.pngs.then(|| png(index)),
    };
    predictions.misclassified(job.misclassified).into_iter().map(describe).collect()
}

impl ProgressReporter<'_> {
    fn begin(&self) {
        self.progress.send_replace(EvaluationProgress { images: 0, total: self.total });
    }

    /// The predictions of a network over a set, with progress after every batch. Errors if the caller has disconnected.
    fn predict(
        &mut self,
        network: &Network,
        set: &DeviceSet,
        batch_size: usize,
    ) -> Result<Predictions, Error> {
        let predictions = eval::predict_all(network, set, batch_size, &mut |images| {
            self.progress
                .send_replace(EvaluationProgress { images: self.before + images, total: self.total });
            match self.context.is_wanted() {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        });
        self.before += set.len();
        // Nobody sees the error.
        predictions.ok_or(Error::DeadlineExceeded)
    }
}
