//! Evaluating: a version's answers over a part of a data set, measured; beside a second version, with
//! its worst mistakes and the temperature that would calibrate it.

use std::{ops::ControlFlow, time::Instant};

use tokio::sync::watch;

use super::{
    Error,
    analysis::{About, Analysis, MAX_BATCH_SIZE, Sitter, fits},
    gate::Gate,
};
use crate::{
    data::{DatasetSpec, DeviceSet, ImageSet, Split, image},
    eval,
    ids::{ModelName, Version, VersionRef},
    metric::{Answers, Contest, Measures, calibration, temperature},
    nn::Network,
    registry::{Assignment, ModelRef, RequirementResult},
};

/// Most changed answers that a comparison lists.
pub const MAX_CHANGED: usize = 100;

/// What to measure, and on what.
#[derive(Debug, Clone)]
pub struct EvaluateJob {
    pub model: ModelRef,
    /// A second version for the same images.
    pub compare_to: Option<ModelRef>,
    /// None: what the version was trained on.
    pub dataset: Option<DatasetSpec>,
    pub split: Split,
    /// Images of a forward pass, and of the means over batches.
    pub batch_size: usize,
    /// Of the reliability table.
    pub bins: usize,
    /// Most mistakes to show.
    pub worst: usize,
    /// Whether they come with pictures.
    pub pictures: bool,
    /// Whether to fit one, on validation images.
    pub fit_temperature: bool,
    pub gate: Gate,
}

impl EvaluateJob {
    pub const BATCH_SIZE: usize = 1000;
    pub const BINS: usize = 15;
    pub const WORST: usize = 10;

    /// All of the test images, with everything at its default.
    pub fn of(model: ModelRef) -> Self {
        Self {
            model,
            compare_to: None,
            dataset: None,
            split: Split::Test,
            batch_size: Self::BATCH_SIZE,
            bins: Self::BINS,
            worst: Self::WORST,
            pictures: false,
            fit_temperature: false,
            gate: Gate::default(),
        }
    }
}

/// How far an evaluation has come, in images of all that it answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    pub images: usize,
    pub total: usize,
}

/// How good a version is.
#[derive(Debug, Clone)]
pub struct Evaluated {
    pub model: ModelName,
    pub version: Version,
    pub class_names: Vec<String>,
    pub dataset: DatasetSpec,
    pub split: Split,
    /// Of the images that were measured.
    pub digest: String,
    pub measures: Measures,
    pub mistakes: Vec<Mistake>,
    /// Where it was asked for.
    pub temperature: Option<Fitted>,
    pub comparison: Option<SecondVersion>,
    /// What was required; all of it held.
    pub results: Vec<RequirementResult>,
    /// Where an alias was to be moved.
    pub promoted: Option<Assignment>,
    pub seconds: f64,
}

/// A wrong answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Mistake {
    /// Its place in the split, counted from 0.
    pub index: usize,
    pub label: usize,
    pub answer: usize,
    pub loss: f64,
    pub probabilities: Vec<f64>,
    pub png: Option<Vec<u8>>,
}

/// A temperature, and what it would change on the images that were measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// None where there is no best one.
    pub temperature: Option<f64>,
    pub images: usize,
    pub digest: String,
    pub loss: Option<f64>,
    pub calibration_error: Option<f64>,
}

/// A second version on the same images.
#[derive(Debug, Clone)]
pub struct SecondVersion {
    pub model: ModelName,
    pub version: Version,
    pub class_names: Vec<String>,
    pub measures: Measures,
    pub contest: Contest,
}

/// Where progress goes, and whether anybody waits for the end.
struct Course<'a> {
    told: &'a watch::Sender<Progress>,
    sitter: &'a Sitter,
    before: usize,
    total: usize,
}

impl Analysis {
    /// Measures a version; what is required of it is for `gate` to say. `told` hears of every batch, and
    /// is dropped when the work is over or was given up because its caller went away.
    pub async fn evaluate(
        &self,
        job: EvaluateJob,
        told: watch::Sender<Progress>,
    ) -> Result<Evaluated, Error> {
        let _permit = self.admit()?;
        let found = self.find_version(&job.model).await?;
        let other = match &job.compare_to {
            Some(model) => Some(self.find_version(model).await?),
            None => None,
        };
        let mut needs = vec![(job.dataset.clone(), job.split)];
        if job.fit_temperature {
            needs.push((job.dataset.clone(), Split::Validation));
        }
        self.sit(found, needs, move |sitter| {
            let began = Instant::now();
            let other = match other {
                Some((about, weights)) => Some((about, weights.read(sitter.device)?.0)),
                None => None,
            };
            let mut evaluated = measure(sitter, other, job, &told)?;
            evaluated.seconds = began.elapsed().as_secs_f64();
            Ok(evaluated)
        })
        .await
    }
}

fn measure(
    sitter: Sitter,
    other: Option<(About, Network)>,
    job: EvaluateJob,
    told: &watch::Sender<Progress>,
) -> Result<Evaluated, Error> {
    check(&job, sitter.about.dims.classes)?;
    let dataset = sitter.about.dataset(job.dataset.clone(), "dataset")?;
    let images = sitter.images(&dataset, job.split, "dataset")?;
    if images.is_empty() {
        return Err(Error::field("split", format!("has no images in the {} part", job.split)));
    }
    if let Some((about, _)) = &other {
        fits(about.dims, &images, "compare_to")?;
    }
    let validation = match job.fit_temperature {
        true => Some(validation(&sitter, &dataset)?),
        false => None,
    };
    let passes = 1 + usize::from(other.is_some());
    let total = passes * images.len() + validation.as_ref().map_or(0, ImageSet::len);
    let mut course = Course { told, sitter: &sitter, before: 0, total };
    course.begin();

    let set = DeviceSet::new(&images, sitter.device);
    let answers = course.ask(&sitter.network, &set, job.batch_size)?;
    let comparison = match other {
        Some((about, network)) => {
            let second = course.ask(&network, &set, job.batch_size)?;
            Some(compared(&answers, &second, about, &job))
        }
        None => None,
    };
    drop(set);
    let temperature = match validation {
        Some(validation) => {
            let set = DeviceSet::new(&validation, sitter.device);
            let fitted_on = course.ask(&sitter.network, &set, job.batch_size)?;
            Some(fitted(&answers, &fitted_on, validation.digest(), job.bins))
        }
        None => None,
    };
    let VersionRef { model, version } = sitter.about.version_ref();
    Ok(Evaluated {
        measures: Measures::of(&answers, job.batch_size, job.bins),
        mistakes: mistakes(&answers, &images, &job),
        digest: images.digest(),
        model,
        version,
        class_names: sitter.about.class_names,
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
fn validation(sitter: &Sitter, dataset: &DatasetSpec) -> Result<ImageSet, Error> {
    let images = sitter.images(dataset, Split::Validation, "dataset")?;
    if images.is_empty() {
        let message = "needs validation images, and the version's run held none out: leave it out";
        return Err(Error::field("fit_temperature", message));
    }
    Ok(images)
}

fn compared(first: &Answers, second: &Answers, about: About, job: &EvaluateJob) -> SecondVersion {
    let VersionRef { model, version } = about.version_ref();
    SecondVersion {
        model,
        version,
        class_names: about.class_names,
        measures: Measures::of(second, job.batch_size, job.bins),
        contest: Contest::of(first, second, MAX_CHANGED),
    }
}

fn fitted(measured: &Answers, validation: &Answers, digest: String, bins: usize) -> Fitted {
    let temperature = temperature(validation);
    let after = temperature.map(|temperature| measured.tempered(temperature));
    Fitted {
        temperature,
        images: validation.len(),
        digest,
        loss: after.as_ref().map(Answers::mean_loss),
        calibration_error: after.and_then(|after| Some(calibration(&after, bins)?.error)),
    }
}

fn mistakes(answers: &Answers, images: &ImageSet, job: &EvaluateJob) -> Vec<Mistake> {
    let picture = |index| image::to_png(images.image(index), images.width(), images.height());
    let mistake = |index| Mistake {
        index,
        label: answers.label(index),
        answer: answers.answer(index),
        loss: answers.loss(index),
        probabilities: answers.probabilities(index),
        png: job.pictures.then(|| picture(index)),
    };
    answers.worst(job.worst).into_iter().map(mistake).collect()
}

impl Course<'_> {
    fn begin(&self) {
        self.told.send_replace(Progress { images: 0, total: self.total });
    }

    /// A network's answers over a set, told batch by batch. Errors where the caller is gone.
    fn ask(&mut self, network: &Network, set: &DeviceSet, batch_size: usize) -> Result<Answers, Error> {
        let answers = eval::answers(network, set, batch_size, &mut |images| {
            self.told.send_replace(Progress { images: self.before + images, total: self.total });
            match self.sitter.is_wanted() {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        });
        self.before += set.len();
        // Nobody hears it.
        answers.ok_or(Error::DeadlineExceeded)
    }
}
