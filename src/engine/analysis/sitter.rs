//! A network that sits to be studied: a version, or a run with its newest weights; and the weights
//! that its training began with.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;

use super::{About, Analysis, Caller, Need};
use crate::{
    data::{Catalog, DatasetSpec, ImageSet, Split, dataset::Dims},
    engine::{
        Error, RunMoment, StartFrom, Target, WeightsOrigin,
        training::{Found, Training},
        worker::{Device, decode},
    },
    ids::RunId,
    nn::Network,
    registry::{self, Manifest, ModelRef, Which},
    train::{StepId, TrainConfig},
};

/// On the analysis thread.
pub(in crate::engine) struct Sitter {
    pub about: About,
    pub network: Network,
    pub device: Device,
    /// Set as soon as nobody waits for the answer any more.
    abandoned: Arc<AtomicBool>,
    catalog: Arc<Catalog>,
}

/// Where its weights are, before they are read on the analysis thread.
pub(in crate::engine) enum Weights {
    Live(Box<Network>),
    Version(Box<Manifest>, Vec<u8>),
    Checkpoint { run: RunId, config: Box<TrainConfig>, dims: Dims, bytes: Bytes },
}

/// The weights before training: of the run's own drawing, of another version, or not known.
pub(super) enum Start {
    Drawn,
    Version(Box<Manifest>, Vec<u8>),
    Unknown,
}

impl Analysis {
    /// Finds out whose network it is and where its weights are.
    pub(super) async fn find(&self, target: &Target, training: &Training) -> Result<(About, Weights), Error> {
        let run = match target {
            Target::Model(model) => return self.find_version(model).await,
            Target::Run(run) => *run,
        };
        match training.look(run).await? {
            Found::Live { summary, look } => {
                let moment =
                    RunMoment { run, state: summary.state, at: look.at, origin: WeightsOrigin::Training };
                let about = About::of_run(&summary.config, moment, look.dims, look.class_names);
                Ok((about, Weights::Live(Box::new(look.network))))
            }
            Found::Version { summary, version } => {
                let model = ModelRef { name: summary.config.model.clone(), which: Which::Version(version) };
                let (about, weights) = self.find_version(&model).await?;
                // A version tells the epoch of its weights alone.
                let at = StepId { epoch: summary.best_epoch.unwrap_or(summary.epoch), ..StepId::default() };
                let run = RunMoment { run, state: summary.state, at, origin: WeightsOrigin::Version };
                Ok((About { run: Some(run), ..about }, weights))
            }
            Found::Checkpoint { summary, checkpoint } => {
                let dims = training.facts(&summary.config.dataset.name).await?.dims;
                // When it was is read with its weights.
                let at = StepId::default();
                let moment = RunMoment { run, state: summary.state, at, origin: WeightsOrigin::Checkpoint };
                let about = About::of_run(&summary.config, moment, dims, Vec::new());
                let config = Box::new(summary.config);
                Ok((about, Weights::Checkpoint { run, config, dims, bytes: checkpoint }))
            }
        }
    }

    pub(in crate::engine) async fn find_version(&self, model: &ModelRef) -> Result<(About, Weights), Error> {
        let (name, version) = self.registry.resolve(model).await?;
        let manifest = self.registry.manifest(&name, version).await?;
        let weights = self.registry.weights(&manifest).await?;
        Ok((About::of(&manifest), Weights::Version(Box::new(manifest), weights)))
    }

    /// Where the weights are that training began with.
    pub(super) async fn start_of(&self, about: &About) -> Result<(StartFrom, Start), Error> {
        if about.config.is_none() {
            return Ok((StartFrom::Unknown, Start::Unknown));
        }
        let Some(parent) = &about.parent else { return Ok((StartFrom::Drawn, Start::Drawn)) };
        let manifest = match self.registry.manifest(&parent.model, parent.version).await {
            Ok(manifest) => manifest,
            Err(registry::Error::ModelNotFound(_) | registry::Error::VersionNotFound { .. }) => {
                return Ok((StartFrom::Unknown, Start::Unknown));
            }
            Err(error) => return Err(error.into()),
        };
        let weights = self.registry.weights(&manifest).await?;
        Ok((StartFrom::Version(parent.clone()), Start::Version(Box::new(manifest), weights)))
    }

    /// Does `job` with a network on the analysis thread, once the files that it needs are at hand; not at
    /// all where its caller has gone by the time of its turn.
    pub(in crate::engine) async fn sit<T: Send + 'static>(
        &self,
        (about, weights): (About, Weights),
        needs: Vec<Need>,
        job: impl FnOnce(Sitter) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.prepare(about.own_dataset.clone(), needs).await?;
        let (catalog, device) = (self.catalog.clone(), self.device);
        let abandoned = Arc::<AtomicBool>::default();
        let _caller = Caller(abandoned.clone());
        self.on_thread(move || {
            let mut about = about;
            let (network, at) = weights.read(device)?;
            if let (Some(run), Some(at)) = (&mut about.run, at) {
                run.at = at;
                about.name_classes(&catalog);
            }
            job(Sitter { about, network, device, abandoned, catalog })
        })
        .await
    }
}

impl Sitter {
    /// Whether anybody still waits for the answer.
    pub fn is_wanted(&self) -> bool {
        !self.abandoned.load(Ordering::Relaxed)
    }

    /// Ends a job that nobody waits for; what it answers nobody hears.
    pub fn check_wanted(&self) -> Result<(), Error> {
        if self.is_wanted() { Ok(()) } else { Err(Error::DeadlineExceeded) }
    }

    /// A part of a data set, split as the network's run split it; `field` names what asked for it.
    pub fn images(&self, dataset: &DatasetSpec, split: Split, field: &str) -> Result<ImageSet, Error> {
        self.about.images(&self.catalog, dataset, (split, field))
    }
}

impl Weights {
    /// The network, and of a checkpoint when in its run it was.
    pub fn read(self, device: Device) -> Result<(Network, Option<StepId>), Error> {
        match self {
            Self::Live(network) => Ok((*network, None)),
            Self::Version(manifest, weights) => Ok((decode(&manifest, &weights, device)?, None)),
            Self::Checkpoint { run, config, dims, bytes } => {
                let kept = config.kept(dims, &bytes, device);
                let corrupt = |error| Error::Corrupt {
                    message: format!("the newest checkpoint of run {run} cannot be read: {error}"),
                };
                kept.map(|(at, network)| (network, Some(at))).map_err(corrupt)
            }
        }
    }
}

impl Start {
    /// The network before training; none where it is not known.
    pub fn read(self, about: &About, device: Device) -> Result<Option<Network>, Error> {
        let Some(config) = &about.config else { return Ok(None) };
        let initial = match self {
            Self::Unknown => return Ok(None),
            Self::Drawn => None,
            Self::Version(manifest, weights) => Some(decode(&manifest, &weights, device)?),
        };
        let start = config.start(about.dims, initial.as_ref(), device);
        start.map(Some).map_err(|error| Error::backend("drawing the weights before training", error))
    }
}
