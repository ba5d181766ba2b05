//! Studying versions: jobs on a thread of their own, each with its own copy of the network, and the
//! inspection among them; the evaluation is in `evaluating`.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::{Semaphore, oneshot};

use super::{
    Depth, Error, InspectInput, InspectJob, Inspected,
    evaluating::fits,
    worker::{Device, JobThread, Priority, Setup, decode},
};
use crate::{
    data::{Catalog, DatasetSpec, ImageSet, Split, ValidationSize},
    inspect::{self, Contents, Options},
    nn::Network,
    registry::{Manifest, ModelRef, Registry},
};

/// Jobs that may wait. Each takes about a second, so the last one waits for a quarter of a minute.
const CAPACITY: usize = 16;

/// When to try again where the queue is full: about the time of one job.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(1);

/// Largest batch that a caller may ask for.
pub(super) const MAX_BATCH_SIZE: i64 = 65_536;

/// Everything that analyses need.
#[derive(Debug)]
pub(super) struct Analysis {
    registry: Registry,
    catalog: Arc<Catalog>,
    device: Device,
    thread: JobThread,
    /// Of analyses that wait for their data.
    preparing: Semaphore,
}

/// A part of a data set that an analysis reads; no data set for the version's own.
type Need = (Option<DatasetSpec>, Split);

/// A version on the analysis thread.
pub(super) struct Subject {
    pub manifest: Manifest,
    pub network: Network,
    pub device: Device,
    catalog: Arc<Catalog>,
    /// Set as soon as nobody waits for the answer any more.
    pub abandoned: Arc<AtomicBool>,
}

/// Tells a job that its caller went away.
struct Caller(Arc<AtomicBool>);

impl Drop for Caller {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Analysis {
    pub fn new(
        registry: Registry,
        catalog: Arc<Catalog>,
        device: Device,
        threads: usize,
    ) -> Result<Self, Error> {
        let setup = Setup { threads, priority: Priority::Low };
        let thread = JobThread::start("digitd-analysis", setup, CAPACITY)?;
        Ok(Self { registry, catalog, device, thread, preparing: Semaphore::new(CAPACITY) })
    }

    pub async fn inspect(&self, job: InspectJob) -> Result<Inspected, Error> {
        let (model, needs) = (job.model.clone(), needs(&job));
        self.study(&model, needs, move |subject| {
            let (contents, label) = match job.depth {
                Depth::Shapes => (None, None),
                Depth::Contents { layers, channels, sample_images } => {
                    let (picture, label) = subject.picture(job.input)?;
                    let sample = match sample_images {
                        0 => None,
                        size => Some(subject.sample(size)?),
                    };
                    (Some(Contents { picture, layers, channels, sample }), label)
                }
            };
            let batch_size = i64::try_from(job.batch_size)
                .ok()
                .filter(|size| (1..=MAX_BATCH_SIZE).contains(size))
                .ok_or_else(|| {
                    Error::field("batch_size", format!("is out of range: use 1 to {MAX_BATCH_SIZE}"))
                })?;
            let report = inspect::inspect(&subject.network, &Options { batch_size, contents })?;
            let Manifest { model, version, class_names, .. } = subject.manifest;
            Ok(Inspected { model, version, report, label, class_names })
        })
        .await
    }

    /// Runs `job` on a version; not at all where its caller has gone by the time of its turn.
    pub(super) async fn study<T: Send + 'static>(
        &self,
        model: &ModelRef,
        needs: Vec<Need>,
        job: impl FnOnce(Subject) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (name, version) = self.registry.resolve(model).await?;
        let manifest = self.registry.manifest(&name, version).await?;
        self.prepare(&manifest, needs).await?;
        let weights = self.registry.weights(&manifest).await?;
        let (catalog, device) = (self.catalog.clone(), self.device);
        let (answer, receiver) = oneshot::channel();
        let abandoned = Arc::<AtomicBool>::default();
        let _caller = Caller(abandoned.clone());
        let job = move || {
            if answer.is_closed() {
                return;
            }
            let subject = decode(&manifest, &weights, device).map(|network| Subject {
                manifest,
                network,
                device,
                catalog,
                abandoned,
            });
            // A caller that went away meanwhile needs no answer.
            let _ = answer.send(subject.and_then(job));
        };
        let submitted = self.thread.submit(job);
        submitted.map_err(|_| Error::QueueFull { queue: "analyses", retry_after: RETRY_AFTER })?;
        receiver.await.unwrap_or_else(|_| Err(Error::backend("an analysis", "its job panicked")))
    }

    /// A version as it lies in the store.
    pub(super) async fn fetch(&self, model: &ModelRef) -> Result<(Manifest, Vec<u8>), Error> {
        let (name, version) = self.registry.resolve(model).await?;
        let manifest = self.registry.manifest(&name, version).await?;
        let weights = self.registry.weights(&manifest).await?;
        Ok((manifest, weights))
    }

    /// Has the files at hand before the job is queued: a download holds up none of the others.
    async fn prepare(&self, manifest: &Manifest, needs: Vec<Need>) -> Result<(), Error> {
        let permit = self.preparing.try_acquire();
        let _permit = permit.map_err(|_| Error::QueueFull { queue: "analyses", retry_after: RETRY_AFTER })?;
        let own = manifest.dataset().cloned();
        let catalog = self.catalog.clone();
        let preparing = tokio::task::spawn_blocking(move || {
            let needs = needs.into_iter().filter_map(|(asked, split)| Some((asked.or(own.clone())?, split)));
            for (dataset, split) in needs {
                catalog.prepare(&dataset, split)?;
            }
            Ok(())
        });
        preparing.await.unwrap_or_else(|error| Err(Error::backend("reading the data set", error)))
    }
}

/// What an inspection reads.
fn needs(job: &InspectJob) -> Vec<Need> {
    let Depth::Contents { sample_images, .. } = &job.depth else { return Vec::new() };
    let picture = match &job.input {
        InspectInput::Picture(_) => None,
        InspectInput::Default => Some((None, Split::Test)),
        InspectInput::Index { dataset, split, .. } => Some((dataset.clone(), *split)),
    };
    let sample = (*sample_images > 0).then_some((None, Split::Validation));
    picture.into_iter().chain(sample).collect()
}

impl Subject {
    /// The picture that goes through the network, and its label where it comes from a data set.
    fn picture(&self, input: InspectInput) -> Result<(Vec<f32>, Option<u8>), Error> {
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
        let dataset = self.dataset(dataset, "dataset_index.dataset")?;
        let images = self.images(&dataset, split, "dataset_index.dataset")?;
        if index >= images.len() {
            let message = format!("is {index}: the {split} part has {} images, counted from 0", images.len());
            return Err(Error::field("dataset_index.index", message));
        }
        let picture = images.image(index).iter().map(|value| f32::from(*value) / 255.0).collect();
        Ok((picture, Some(images.label(index))))
    }

    /// The first images that the version was validated on, or tested on where it was not.
    fn sample(&self, size: usize) -> Result<ImageSet, Error> {
        let dataset = self.dataset(None, "sample_images")?;
        let validation = self.images(&dataset, Split::Validation, "sample_images")?;
        let images = match validation.is_empty() {
            true => self.images(&dataset, Split::Test, "sample_images")?,
            false => validation,
        };
        Ok(images.slice(0..size))
    }

    /// The data set that is asked for, or the one that the version was trained on.
    pub(super) fn dataset(&self, asked: Option<DatasetSpec>, field: &str) -> Result<DatasetSpec, Error> {
        let own = || self.manifest.dataset().cloned();
        asked.or_else(own).ok_or_else(|| {
            let message =
                "is left out, and the version does not tell what it was trained on: name a data set";
            Error::field(field, message)
        })
    }

    /// A part of a data set, split as the version's run split it.
    pub(super) fn images(&self, dataset: &DatasetSpec, split: Split, field: &str) -> Result<ImageSet, Error> {
        let config = self.manifest.config.as_ref();
        let size = config.map_or_else(ValidationSize::default, |config| config.validation.size);
        let images = self.catalog.load_split(dataset, size, split)?;
        fits(&self.manifest, &images, field)?;
        Ok(images)
    }
}

impl From<inspect::Error> for Error {
    fn from(error: inspect::Error) -> Self {
        let message = error.to_string();
        match error {
            inspect::Error::UnknownLayer { .. } => Self::field("layers", format!("are wrong: {message}")),
            inspect::Error::TooMuch { .. } => Self::field("channels", format!("are too many: {message}")),
            inspect::Error::UnknownChannel { .. } => Self::field("channels", format!("are wrong: {message}")),
            inspect::Error::PictureSize { given, expected } => {
                Self::field("image", format!("has {given} pixels: use {expected}"))
            }
        }
    }
}
