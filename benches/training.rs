//! Training as the engine does it against its own bare arithmetic: JSON lines in the units of the
//! reference measurements of other frameworks. MNIST where it is found, else the built-in digits.
//!
//! `epoch`: a whole epoch of a run, from its first event to its last, with order, gathering,
//! metrics, event log, checkpoint and publishing on a folder. `step`: forward, backward and Adam on
//! one batch that lies ready, nothing else. What an epoch takes beyond its steps is `overhead_pct`.
//! Both take turns, so that a busy minute of the machine falls on both.
//!
//! `cargo bench --bench training -- --batch 100 --rounds 5`; left out: 100 and 1024, five rounds.

use std::time::Instant;

use digitd::{
    data::{Catalog, DatasetSpec, DeviceSet, FetchPolicy, Split, ValidationSize},
    engine::{Engine, EngineConfig},
    nn::{Mode, Network, ParameterSet, Shape, StepSeed},
    optim::Optimizer,
    registry::Registry,
    train::{Event, TrainConfig, ValidationConfig},
};
use tch::{Device, Kind, Tensor};

/// Steps of a round of the bare loop.
const STEPS: u32 = 200;

#[tokio::main]
#[allow(clippy::print_stdout, reason = "figures are what a bench is for")]
async fn main() {
    let (batches, rounds) = arguments();
    let store = tempfile::tempdir().expect("a folder for the store");
    let registry = Registry::open(&store.path().display().to_string()).await.expect("the folder is writable");
    let catalog = catalog();
    let dataset = dataset(&catalog);
    let images = catalog
        .load_split(&dataset, ValidationSize::Count(0), Split::Train)
        .expect("the data set was read before");
    let engine = Engine::start(EngineConfig::default(), registry, catalog).await.expect("a CPU computes");
    for batch_size in batches {
        let config = TrainConfig {
            dataset: dataset.clone(),
            epochs: 1,
            batch_size,
            validation: ValidationConfig { size: ValidationSize::Count(0), every_epochs: 1 },
            ..TrainConfig::default()
        };
        let mut steps = Bare::new(&config, &DeviceSet::new(&images, Device::Cpu));
        let (mut whole, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            whole.push(epoch(&engine, config.clone()).await / images.len() as f64);
            let taken;
            (steps, taken) = tokio::task::spawn_blocking(move || steps.round()).await.expect("no panic");
            bare.push(taken / (f64::from(STEPS) * f64::from(batch_size)));
        }
        let (whole, bare) = (median(whole), median(bare));
        println!(
            "{{\"what\": \"train\", \"variant\": \"digitd\", \"batch\": {batch_size}, \"epoch_images_s\": {:.0}, \
             \"step_images_s\": {:.0}, \"overhead_pct\": {:.1}, \"rounds\": {rounds}}}",
            1.0 / whole,
            1.0 / bare,
            100.0 * (whole / bare - 1.0),
        );
    }
    engine.shutdown().await;
}

/// Seconds of a run of one epoch, from its first event to its last.
async fn epoch(engine: &Engine, config: TrainConfig) -> f64 {
    let run = engine.train(config).await.expect("the slot is free");
    let mut watch = engine.watch(run, 0).await.expect("the run was started");
    let (mut first, mut last) = (None, None);
    while let Some(records) = watch.next().await.expect("the run's events are readable") {
        for record in records {
            if let Event::Finished(finished) = &record.event {
                assert!(finished.version.is_some(), "the run ended as asked: {finished:?}");
            }
            first.get_or_insert(record.time);
            last = Some(record.time);
        }
    }
    let taken = last.expect("a last event") - first.expect("a first event");
    taken.as_seconds_f64()
}

/// The arithmetic alone.
struct Bare {
    network: Network,
    gradients: ParameterSet,
    optimizer: Optimizer,
    images: Tensor,
    labels: Tensor,
    config: TrainConfig,
    step: u32,
}

impl Bare {
    fn new(config: &TrainConfig, set: &DeviceSet) -> Self {
        let mut network = Network::zeros(&config.network, Shape::grey(28, 28), 10, Kind::Float, Device::Cpu)
            .expect("the default network fits");
        network.initialize(0);
        let batch = set.range(0, config.batch_size as usize, Kind::Float);
        Self {
            gradients: network.parameters().zeros_like(),
            optimizer: Optimizer::new(config.optimizer, &config.regularization, network.parameters()),
            images: batch.images,
            labels: batch.labels,
            config: config.clone(),
            step: 0,
            network,
        }
    }

    /// Seconds of [`STEPS`] steps.
    fn round(mut self) -> (Self, f64) {
        let began = Instant::now();
        for _ in 0..STEPS {
            self.step += 1;
            let at = StepSeed { seed: 0, epoch: 1, step: self.step };
            let loss = |logits: &Tensor| self.config.loss.mean(logits, &self.labels);
            let _ = self.network.learn(&self.images, Mode::Train(at), loss, &mut self.gradients);
            self.optimizer.step(self.network.parameters_mut(), &mut self.gradients, 0.001);
        }
        (self, began.elapsed().as_secs_f64())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn catalog() -> Catalog {
    let own = std::env::var_os("DIGITD_DATA_DIR").map(Into::into);
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/mnist").into();
    Catalog::new([own, Some(beside)].into_iter().flatten().collect(), FetchPolicy::Never)
}

fn dataset(catalog: &Catalog) -> DatasetSpec {
    let named = |name: &str| {
        let name = name.parse().expect("a data set name");
        DatasetSpec { name, seed: None, max_train_images: None }
    };
    let mnist = named("mnist");
    match catalog.load_split(&mnist, ValidationSize::Count(0), Split::Validation) {
        Ok(_) => mnist,
        Err(_) => named("synthetic"),
    }
}

/// The batch sizes and the number of rounds.
fn arguments() -> (Vec<u32>, usize) {
    let given: Vec<String> = std::env::args().collect();
    let number = |name: &str| {
        let at = given.iter().position(|argument| argument == name)?;
        Some(given.get(at + 1).and_then(|value| value.parse().ok()).expect("a number follows its name"))
    };
    let batches = number("--batch").map_or(vec![100, 1024], |batch| vec![batch]);
    (batches, number("--rounds").map_or(5, |rounds| rounds as usize))
}
