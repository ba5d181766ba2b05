//! The network that an analysis works on: a version, or a run with its newest weights; and the weights that its
//! training began with.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    model_info::ModelInfo,
    requests::{InitialWeightsOrigin, RunStep, WeightsOrigin},
    service::{Analysis, SplitRequest},
};
use crate::{
    compute::{Device, Error, RunWeights, WeightsSource, decode_network},
    data::{Catalog, DatasetSpec, ImageSet, Split, dataset::Dims},
    ids::RunId,
    nn::Network,
    registry::{self, Manifest, ModelRef, VersionSelector},
    train::{StepId, TrainConfig},
};

/// A job on the analysis thread works with this: a model and its network, loaded for the job alone.
pub struct AnalysisContext {
    pub model: ModelInfo,
    pub network: Network,
    pub device: Device,
    /// Set as soon as the caller disconnects.
    abandoned: Arc<AtomicBool>,
    catalog: Arc<Catalog>,
}

/// The weights of a network before they are decoded on the analysis thread.
pub enum EncodedWeights {
    /// A copy that a run made of its network.
    Network(Box<Network>),
    Version(Box<Manifest>, Vec<u8>),
    Checkpoint {
        run: RunId,
        config: Box<TrainConfig>,
        dims: Dims,
        bytes: Bytes,
    },
}

/// The weights before training, before they are decoded.
pub enum EncodedInitialWeights {
    /// Drawn from the run's seed.
    Random,
    Version(Box<Manifest>, Vec<u8>),
    Unknown,
}

/// Marks a job as abandoned when its caller disconnects.
struct AbandonOnDrop(Arc<AtomicBool>);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Analysis {
    /// Finds a version and its weights.
    pub(super) async fn find_version(&self, model: &ModelRef) -> Result<(ModelInfo, EncodedWeights), Error> {
        let (name, version) = self.registry.resolve(model).await?;
        let manifest = self.registry.manifest(&name, version).await?;
        let weights = self.registry.weights(&manifest).await?;
        Ok((ModelInfo::from_manifest(&manifest), EncodedWeights::Version(Box::new(manifest), weights)))
    }

    /// Returns the model of a run and the newest weights that were found of it.
    pub(super) async fn find_run(&self, found: RunWeights) -> Result<(ModelInfo, EncodedWeights), Error> {
        let RunWeights { run, state, config, source } = found;
        match source {
            WeightsSource::Training(snapshot) => {
                let step = RunStep { run, state, at: snapshot.at, origin: WeightsOrigin::Training };
                let model = ModelInfo::from_run(&config, step, snapshot.dims, snapshot.class_names);
                Ok((model, EncodedWeights::Network(Box::new(snapshot.network))))
            }
            WeightsSource::Version { version, epoch } => {
                let model = ModelRef { name: config.model.clone(), which: VersionSelector::Version(version) };
                let (model, weights) = self.find_version(&model).await?;
                let at = StepId { epoch, ..StepId::default() };
                let run = RunStep { run, state, at, origin: WeightsOrigin::Version };
                Ok((ModelInfo { run: Some(run), ..model }, weights))
            }
            WeightsSource::Checkpoint { dims, bytes } => {
                // The step is read with the weights.
                let at = StepId::default();
                let step = RunStep { run, state, at, origin: WeightsOrigin::Checkpoint };
                let model = ModelInfo::from_run(&config, step, dims, Vec::new());
                Ok((model, EncodedWeights::Checkpoint { run, config, dims, bytes }))
            }
        }
    }

    /// The weights that training began with.
    pub(super) async fn initial_weights(
        &self,
        model: &ModelInfo,
    ) -> Result<(InitialWeightsOrigin, EncodedInitialWeights), Error> {
        if model.config.is_none() {
            return Ok((InitialWeightsOrigin::Unknown, EncodedInitialWeights::Unknown));
        }
        let Some(parent) = &model.parent else {
            return Ok((InitialWeightsOrigin::Random, EncodedInitialWeights::Random));
        };
        let manifest = match self.registry.manifest(&parent.model, parent.version).await {
            Ok(manifest) => manifest,
            Err(registry::Error::ModelNotFound(_) | registry::Error::VersionNotFound { .. }) => {
                return Ok((InitialWeightsOrigin::Unknown, EncodedInitialWeights::Unknown));
            }
            Err(error) => return Err(error.into()),
        };
        let weights = self.registry.weights(&manifest).await?;
        Ok((
            InitialWeightsOrigin::Version(parent.clone()),
            EncodedInitialWeights::Version(Box::new(manifest), weights),
        ))
    }

    /// Runs `job` with a network on the analysis thread once the data that it needs are fetched, unless its caller has
    /// disconnected by the time of its turn. The permit ends with the job.
    pub(super) async fn run_with_network<T: Send + 'static>(
        &self,
        permit: OwnedSemaphorePermit,
        (model, weights): (ModelInfo, EncodedWeights),
        needs: Vec<SplitRequest>,
        job: impl FnOnce(AnalysisContext) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = self.prepare(permit, model.training_dataset.clone(), needs).await?;
        let (catalog, device) = (self.catalog.clone(), self.device);
        let abandoned = Arc::<AtomicBool>::default();
        let _caller = AbandonOnDrop(abandoned.clone());
        self.on_thread(move || {
            // Bound first and therefore dropped last: it stands for the memory of all that follows.
            let _permit = permit;
            let mut model = model;
            let (network, at) = weights.decode(device)?;
            if let (Some(run), Some(at)) = (&mut model.run, at) {
                run.at = at;
                model.name_classes(&catalog);
            }
            job(AnalysisContext { model, network, device, abandoned, catalog })
        })
        .await
    }
}

impl AnalysisContext {
    /// Whether the caller still waits for the result.
    pub fn is_wanted(&self) -> bool {
        !self.abandoned.load(Ordering::Relaxed)
    }

    /// Errors if the caller has disconnected, who does not see the error.
    pub fn check_wanted(&self) -> Result<(), Error> {
        if self.is_wanted() { Ok(()) } else { Err(Error::DeadlineExceeded) }
    }

    /// A part of a data set, split as the network's run split it; `field` names the field of the request that chose it.
    pub fn images(&self, dataset: &DatasetSpec, split: Split, field: &str) -> Result<ImageSet, Error> {
        self.model.images(&self.catalog, dataset, (split, field))
    }
}

impl EncodedWeights {
    /// The network, and for a checkpoint the step that it is from.
    pub fn decode(self, device: Device) -> Result<(Network, Option<StepId>), Error> {
        match self {
            Self::Network(network) => Ok((*network, None)),
            Self::Version(manifest, weights) => Ok((decode_network(&manifest, &weights, device)?, None)),
            Self::Checkpoint { run, config, dims, bytes } => {
                let decoded = config.network_from_checkpoint(dims, &bytes, device);
                let corrupt = |error| Error::Corrupt {
                    message: format!("the newest checkpoint of run {run} cannot be read: {error}"),
                };
                decoded.map(|(at, network)| (network, Some(at))).map_err(corrupt)
            }
        }
    }
}

impl EncodedInitialWeights {
    /// The network before training; none if it is not known.
    pub fn decode(self, model: &ModelInfo, device: Device) -> Result<Option<Network>, Error> {
        let Some(config) = &model.config else { return Ok(None) };
        let initial = match self {
            Self::Unknown => return Ok(None),
            Self::Random => None,
            Self::Version(manifest, weights) => Some(decode_network(&manifest, &weights, device)?),
        };
        let start = config.initial_network(model.dims, initial.as_ref(), device);
        start.map(Some).map_err(|error| Error::backend("drawing the weights before training", error))
    }
}
