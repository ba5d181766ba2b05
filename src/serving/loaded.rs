//! A version that is loaded and makes predictions.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time,
};

use tokio::time::{Instant, timeout_at};

use super::{
    batcher::Batcher,
    images::{ImageBatch, PredictionBatch},
    stats::StatsRecorder,
};
use crate::{
    compute::{CallOutcome, Error},
    registry::Manifest,
};

/// When the registry was queried.
#[derive(Debug, Clone, Copy)]
pub struct ResolveStamp {
    pub at: Instant,
    /// The number of the registry's own changes until then.
    pub generation: u64,
}

/// A loaded version. Dropping it ends its workers.
#[derive(Debug)]
pub struct LoadedVersion {
    pub manifest: Arc<Manifest>,
    /// When the manifest was read.
    pub stamp: ResolveStamp,
    pub batcher: Arc<Batcher>,
    stats: Arc<StatsRecorder>,
    /// When it was last requested, in microseconds since the server's start.
    used: AtomicU64,
}

/// A version that is loaded and stays so while this lives, even if its alias moves.
#[derive(Debug, Clone)]
pub struct ServedModel(pub(super) Arc<LoadedVersion>);

impl Drop for LoadedVersion {
    fn drop(&mut self) {
        self.batcher.close();
    }
}

impl LoadedVersion {
    pub fn new(
        manifest: Arc<Manifest>,
        stamp: ResolveStamp,
        batcher: Arc<Batcher>,
        stats: Arc<StatsRecorder>,
    ) -> Self {
        Self { manifest, stamp, batcher, stats, used: AtomicU64::default() }
    }

    /// Records that the version is requested now, in microseconds since the server's start.
    pub fn touch(&self, now: u64) {
        self.used.store(now, Ordering::Relaxed);
    }

    /// When the version was last requested, in microseconds since the server's start.
    pub fn last_used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    async fn predict(
        &self,
        images: ImageBatch,
        deadline: Option<time::Instant>,
    ) -> Result<PredictionBatch, Error> {
        let call = self.stats.call(deadline);
        let result = self.predict_in_chunks(images, deadline).await;
        call.ended(result.as_ref().map_or_else(CallOutcome::of, |_| CallOutcome::Succeeded));
        result
    }

    async fn predict_in_chunks(
        &self,
        images: ImageBatch,
        deadline: Option<time::Instant>,
    ) -> Result<PredictionBatch, Error> {
        let count = count(&images, &self.manifest)?;
        let area = self.manifest.height * self.manifest.width;
        let receivers = self.batcher.submit(images, (count, area), deadline)?;
        let mut probabilities = Vec::with_capacity(count * self.manifest.classes);
        for receiver in receivers {
            let received = match deadline {
                Some(deadline) => timeout_at(deadline.into(), receiver).await,
                None => Ok(receiver.await),
            };
            match received {
                Ok(Ok(part)) => probabilities.append(&mut part?),
                Ok(Err(_)) => return Err(Error::backend("predicting", "a worker ended without a result")),
                Err(_) => return Err(Error::DeadlineExceeded),
            }
        }
        let Manifest { model, version, classes, class_names, .. } = &*self.manifest;
        Ok(PredictionBatch {
            model: model.clone(),
            version: *version,
            classes: *classes,
            class_names: class_names.clone(),
            probabilities,
        })
    }
}

impl ServedModel {
    /// What is known of the version, the size of its images and its classes included.
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// Predicts images; the predictions are in their order. After `deadline` no compute is spent on them. Errors:
    /// `InvalidField` for images of another size, `QueueFull`, `DeadlineExceeded`.
    pub async fn predict(
        &self,
        images: ImageBatch,
        deadline: Option<time::Instant>,
    ) -> Result<PredictionBatch, Error> {
        self.0.predict(images, deadline).await
    }
}

/// The number of images; errors if their size is wrong. Their values are for the caller to check: reading millions of
/// them is no work for this thread.
fn count(images: &ImageBatch, manifest: &Manifest) -> Result<usize, Error> {
    let (height, width) = (manifest.height, manifest.width);
    let (length, pixel) = match images {
        ImageBatch::Bytes(bytes) => (bytes.len(), 1),
        ImageBatch::Floats(values) => (values.len(), 1),
        ImageBatch::FloatBytes(bytes) => (bytes.len(), size_of::<f32>()),
    };
    let image = height * width * pixel;
    if length == 0 || !length.is_multiple_of(image) {
        let message =
            format!("have {} pixels: give images of {height} x {width}, one at least", length / pixel);
        return Err(Error::field("images", message));
    }
    Ok(length / image)
}
