//! The worker threads of a loaded version, each with its own copy of the network.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};

use tch::Kind;
use tokio::sync::mpsc;

use super::{
    batcher::{Batcher, Chunk, ChunkResult, Pixels},
    config::BatchConfig,
    stats::{ExecutedBatch, StatsRecorder},
};
use crate::{
    compute::{Device, Error, Priority, ThreadSettings, decode_network_as, spawn},
    nn::{Precision, Predictor},
    registry::Manifest,
};

/// Everything that a worker is made from.
#[derive(Debug, Clone)]
struct WorkerPlan {
    manifest: Arc<Manifest>,
    weights: Arc<Vec<u8>>,
    device: Device,
    precision: Precision,
    batcher: Arc<Batcher>,
    stats: Arc<StatsRecorder>,
    max_batch_size: usize,
}

/// How a version is served.
#[derive(Debug)]
pub struct ServingSetup<'a> {
    pub device: Device,
    pub config: &'a BatchConfig,
    /// Records what the workers do.
    pub stats: Arc<StatsRecorder>,
}

/// Starts the workers of a version and returns its batcher once all of them are warmed up. Errors when the weights are
/// not those of the network.
pub async fn start(
    manifest: Arc<Manifest>,
    weights: Vec<u8>,
    serving: ServingSetup<'_>,
) -> Result<Arc<Batcher>, Error> {
    let ServingSetup { device, config, stats } = serving;
    let workers = config.worker_count(device);
    let batcher = Arc::new(Batcher::new(config.clone()));
    let max_batch_size = config.max_batch_size;
    let weights = Arc::new(weights);
    let precision = config.precision;
    let plan =
        WorkerPlan { manifest, weights, device, precision, batcher: batcher.clone(), stats, max_batch_size };
    let unfinished = Unfinished(Some(&batcher));
    let (ready, mut readiness) = mpsc::channel(workers);
    for index in 0..workers {
        let (plan, ready) = (plan.clone(), ready.clone());
        spawn(&format!("digitd-serve-{index}"), move || run(plan, ready))?;
    }
    drop(ready);
    while let Some(outcome) = readiness.recv().await {
        outcome?;
    }
    unfinished.finish();
    Ok(batcher)
}

/// Ends the workers that were started, unless all of them became ready before their caller disconnected.
struct Unfinished<'a>(Option<&'a Batcher>);

impl Unfinished<'_> {
    fn finish(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(batcher) = self.0 {
            batcher.close();
        }
    }
}

fn run(plan: WorkerPlan, ready: mpsc::Sender<Result<(), Error>>) {
    // One thread per operation: small batches lose more by waking others than they gain.
    ThreadSettings { threads: 1, priority: Priority::Normal }.apply();
    let mut worker = match ModelWorker::make(&plan) {
        Ok(worker) => worker,
        Err(error) => {
            // The loader has room for one message of every worker.
            let _ = ready.blocking_send(Err(error));
            return;
        }
    };
    let _ = ready.blocking_send(Ok(()));
    drop(ready);
    while let Some(batch) = plan.batcher.take() {
        if worker.execute(batch).is_ok() {
            continue;
        }
        // The panic may have left the network and its memory in an invalid state.
        match ModelWorker::make(&plan) {
            Ok(fresh) => {
                worker = fresh;
                plan.stats.metrics.replaced.inc();
            }
            Err(error) => tracing::error!(%error, "a worker that panicked continues with its network"),
        }
    }
}

/// A network and the memory in which its batches are assembled.
struct ModelWorker {
    network: Predictor,
    manifest: Arc<Manifest>,
    stats: Arc<StatsRecorder>,
    pixels: Vec<f32>,
    /// value / 255 in float32, as the training images are made.
    ink: [f32; 256],
}

/// The error of a batch that panicked; its callers have received it.
#[derive(Debug)]
struct Panicked;

impl ModelWorker {
    fn make(plan: &WorkerPlan) -> Result<Self, Error> {
        let made = catch_unwind(AssertUnwindSafe(|| Self::new(plan)));
        made.unwrap_or_else(|panic| Err(Error::panicked("loading a model", &*panic)))
    }

    fn new(plan: &WorkerPlan) -> Result<Self, Error> {
        // Images are bytes: a wider type than float32 would be slower and no better.
        let network = decode_network_as(Kind::Float, &plan.manifest, &plan.weights, plan.device)?;
        let network = network.into_predictor(plan.precision);
        let ink = std::array::from_fn(|value| value as f32 / 255.0);
        let (manifest, stats) = (plan.manifest.clone(), plan.stats.clone());
        let mut worker = Self { network, manifest, stats, pixels: Vec::new(), ink };
        // The first pass of each size prepares kernels, which no caller should wait for.
        for images in worker.network.sizes(plan.max_batch_size) {
            worker.pixels.resize(images * worker.manifest.height * worker.manifest.width, 0.0);
            worker.forward(images);
        }
        Ok(worker)
    }

    /// Computes a batch and sends each caller its predictions.
    fn execute(&mut self, batch: Vec<Chunk>) -> Result<(), Panicked> {
        let began = Instant::now();
        self.pixels.clear();
        for chunk in &batch {
            match &chunk.pixels {
                Pixels::Bytes(bytes) => {
                    let ink = &self.ink;
                    self.pixels.extend(bytes.iter().map(|value| ink[usize::from(*value)]));
                }
                Pixels::Floats(values, range) => self.pixels.extend_from_slice(&values[range.clone()]),
                Pixels::FloatBytes(bytes) => {
                    let (values, _) = bytes.as_chunks();
                    self.pixels.extend(values.iter().copied().map(f32::from_le_bytes));
                }
            }
        }
        let images = batch.iter().map(|chunk| chunk.images).sum();
        let made = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| self.forward(images)));
        let computed = Instant::now();
        let result = outcome.map_err(|panic| Error::panicked("predicting", &*panic));
        let parts = self.parts(&batch, &result);
        if result.is_ok() {
            // The batch is recorded before its results are sent, so that a caller with a result finds it in the
            // statistics.
            self.stats.executed(&ExecutedBatch {
                images,
                waits: batch.iter().map(|chunk| began.saturating_duration_since(chunk.since)).collect(),
                phases: [made - began, computed - made, computed.elapsed()],
            });
        }
        for (chunk, part) in batch.into_iter().zip(parts) {
            // A caller that disconnected meanwhile needs no result.
            let _ = chunk.sender.send(part);
        }
        result.map(drop).map_err(|_| Panicked)
    }

    /// The part of the probabilities that belongs to each chunk.
    fn parts(&self, batch: &[Chunk], result: &ChunkResult) -> Vec<ChunkResult> {
        let mut start = 0;
        let part = |chunk: &Chunk| {
            let end = start + chunk.images * self.manifest.classes;
            let part = result.as_ref().map(|all| all[start..end].to_vec()).map_err(Error::clone);
            start = end;
            part
        };
        batch.iter().map(part).collect()
    }

    /// The probabilities [images, classes] of the images in `pixels`.
    fn forward(&mut self, images: usize) -> Vec<f32> {
        self.network.probabilities(&self.pixels, images)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compute::{Metrics, testing::weights},
        ids::{ModelName, Version},
        registry::{Registry, testing},
        serving::images::ImageBatch,
    };

    fn stats(config: &BatchConfig) -> Arc<StatsRecorder> {
        let metrics = Metrics::default().inference.version(&ModelName::default(), Version::FIRST);
        Arc::new(StatsRecorder::new(config.max_batch_size, metrics))
    }

    #[tokio::test]
    async fn a_batch_that_panics_fails_alone_and_its_worker_is_replaced() {
        let registry = Registry::open("memory:").await.unwrap();
        let manifest = Arc::new(testing::publish(&registry, &weights()).await);
        let config = BatchConfig { workers: 1, ..BatchConfig::default() };
        let stats = stats(&config);
        let serving = ServingSetup { device: Device::Cpu, config: &config, stats: stats.clone() };
        let batcher = start(manifest, weights(), serving).await.unwrap();
        // Images of another size than the network's, which callers cannot submit.
        let mut results = Vec::new();
        for area in [100, 784] {
            let pixels = ImageBatch::Bytes(vec![0; area].into());
            results.push(batcher.submit(pixels, (1, area), None).unwrap().remove(0).await.unwrap());
        }
        assert!(matches!(results[0], Err(Error::Backend { .. })), "{:?}", results[0]);
        assert_eq!(results[1].as_ref().unwrap().len(), 10);
        assert_eq!(stats.metrics.replaced.get(), 1);
        batcher.close();
    }

    #[tokio::test]
    async fn workers_of_an_abandoned_start_end() {
        let registry = Registry::open("memory:").await.unwrap();
        let manifest = Arc::new(testing::publish(&registry, &weights()).await);
        let config = BatchConfig { workers: 2, ..BatchConfig::default() };
        let serving = ServingSetup { device: Device::Cpu, config: &config, stats: stats(&config) };
        let start = start(manifest.clone(), weights(), serving);
        assert!(tokio::time::timeout(std::time::Duration::ZERO, start).await.is_err());
        // Every worker holds the manifest.
        while Arc::strong_count(&manifest) > 1 {
            std::thread::yield_now();
        }
    }
}
