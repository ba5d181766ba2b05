//! Measures training by the engine against its bare arithmetic, and prints lines of JSON in the units of the
//! reference measurements of other frameworks. It uses MNIST if it is found, else the built-in digits.
//!
//! `epoch` is a whole epoch of a run, from its first event to its last, with shuffling, gathering, metrics,
//! event log, checkpoint and publishing to a folder. `step` is forward, backward and Adam on prepared batches
//! and nothing else, with the same images in the same order from the same initial weights, because the
//! duration of a step depends on how many of its gradients are zero. The excess of an epoch over its steps is
//! `overhead_pct`. Both alternate, so that other load on the machine affects both. `gathering_pct` and
//! `counting_pct` are measured within the loop of a run: the shares of gathering batches, and of metrics with
//! reports, in the time of all batches.
//!
//! `cargo bench --bench training -- --batch 100 --rounds 5`; the default is batches of 100 and of 1024 and
//! five rounds.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use digitd::{
    data::{
        Batch, Catalog, DatasetSpec, DeviceSet, FetchPolicy, ImageSet, Split, Splits, ValidationSize,
        epoch_order,
    },
    engine::{Engine, EngineConfig},
    nn::{Mode, Network, ParameterSet, Shape, StepSeed},
    optim::{Optimizer, SchedulePosition},
    registry::Registry,
    train::{Event, RunHooks, StepTimings, TrainConfig, Trainer, TrainingProgress, ValidationConfig},
};
use tch::{Device, Kind, Tensor};

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
    let images = Arc::new(images);
    let engine = Engine::start(EngineConfig::default(), registry, catalog).await.expect("a CPU computes");
    for batch_size in batches {
        let config = TrainConfig {
            dataset: dataset.clone(),
            epochs: 1,
            batch_size,
            validation: ValidationConfig { size: ValidationSize::Count(0), every_epochs: 1 },
            ..TrainConfig::default()
        };
        let mut measured = Rounds::default();
        for _ in 0..rounds {
            measured.epoch.push(epoch(&engine, config.clone()).await);
            measured.within.push(computed(&config, &images, within_epoch).await);
            measured
                .steps
                .push(computed(&config, &images, |config, set| BareSteps::new(config, set).epoch()).await);
        }
        measured.print(batch_size, images.len());
    }
    engine.shutdown().await;
}

/// The measurements, one for each round.
#[derive(Default)]
struct Rounds {
    /// The seconds of an epoch.
    epoch: Vec<f64>,
    /// The seconds of its steps.
    steps: Vec<f64>,
    within: Vec<StepTimings>,
}

impl Rounds {
    #[allow(clippy::print_stdout, reason = "figures are what a bench is for")]
    fn print(&self, batch_size: u32, images: usize) {
        let (whole, bare) = (median(self.epoch.clone()), median(self.steps.clone()));
        let share = |part: fn(&StepTimings) -> Duration| {
            let of = |it: &StepTimings| part(it).div_duration_f64(it.gathering + it.stepping + it.counting);
            100.0 * median(self.within.iter().map(of).collect())
        };
        println!(
            "{{\"what\": \"train\", \"variant\": \"digitd\", \"batch\": {batch_size}, \"epoch_images_s\": {:.0}, \
             \"step_images_s\": {:.0}, \"overhead_pct\": {:.1}, \"gathering_pct\": {:.2}, \"counting_pct\": {:.2}, \
             \"rounds\": {}}}",
            images as f64 / whole,
            images as f64 / bare,
            100.0 * (whole / bare - 1.0),
            share(|it| it.gathering),
            share(|it| it.counting),
            self.epoch.len(),
        );
    }
}

/// Returns the result of `measure` on a thread that computes as the thread of a run does.
async fn computed<T: Send + 'static>(
    config: &TrainConfig,
    images: &Arc<ImageSet>,
    measure: impl FnOnce(TrainConfig, &ImageSet) -> T + Send + 'static,
) -> T {
    let (config, images) = (config.clone(), images.clone());
    let measured = tokio::task::spawn_blocking(move || {
        compute_on_all_cores();
        measure(config, &images)
    });
    measured.await.expect("no panic")
}

/// Returns the seconds of a run of one epoch, from its first event to its last.
async fn epoch(engine: &Engine, config: TrainConfig) -> f64 {
    let info = engine.dataset_info(&config.dataset.name).await.expect("the data set was read before");
    let config = config.validate(info.dims).expect("the default request is valid");
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

/// Returns how the time is distributed in the loop of a run of one epoch whose reports are discarded.
fn within_epoch(config: TrainConfig, images: &ImageSet) -> StepTimings {
    struct DiscardReports;
    impl RunHooks for DiscardReports {
        fn report(&mut self, _event: Event) {}

        fn checkpoint(&mut self, _at: TrainingProgress, _bytes: Vec<u8>) -> Result<(), String> {
            Ok(())
        }

        fn stop_requested(&self) -> bool {
            false
        }
    }
    let none = images.slice(0..0);
    let splits = Splits { train: images.clone(), validation: none.clone(), test: none };
    let config = config.validate(images.dims()).expect("the default request is valid");
    let mut trainer = Trainer::new(config, None, &splits, Device::Cpu).expect("the default network fits");
    trainer.fit(&mut DiscardReports).expect("nothing is kept that could fail");
    trainer.timings()
}

/// Runs the arithmetic of a run of one epoch alone.
struct BareSteps {
    network: Network,
    gradients: ParameterSet,
    optimizer: Optimizer,
    batches: Vec<Batch>,
    config: TrainConfig,
}

impl BareSteps {
    fn new(config: TrainConfig, images: &ImageSet) -> Self {
        let mut network = Network::zeros(&config.network, Shape::grey(28, 28), 10, Kind::Float, Device::Cpu)
            .expect("the default network fits");
        network.initialize(config.seed);
        let order = Tensor::from_slice(&epoch_order(images.len(), config.order, config.seed, 1));
        let set = DeviceSet::new(images, Device::Cpu);
        let (total, size) = (images.len() as i64, i64::from(config.batch_size));
        let batch = |start| set.gather(&order.narrow(0, start, size.min(total - start)), Kind::Float);
        Self {
            gradients: network.parameters().zeros_like(),
            optimizer: Optimizer::new(config.optimizer, &config.regularization, network.parameters()),
            batches: (0..total).step_by(size as usize).map(batch).collect(),
            config,
            network,
        }
    }

    /// The seconds of all steps.
    fn epoch(mut self) -> f64 {
        let steps = self.batches.len() as u32;
        let began = Instant::now();
        for (step, batch) in (0..).zip(&self.batches) {
            let at = StepSeed { seed: self.config.seed, epoch: 1, step: step + 1 };
            let loss = |logits: &Tensor| self.config.loss.mean(logits, &batch.labels);
            let _ = self.network.forward_backward(&batch.images, Mode::Train(at), loss, &mut self.gradients);
            let progress = SchedulePosition { step, steps_per_epoch: steps, total_steps: steps.into() };
            let rate = self.config.optimizer.learning_rate() * self.config.schedule.factor(progress);
            self.optimizer.step(self.network.parameters_mut(), &mut self.gradients, rate);
        }
        began.elapsed().as_secs_f64()
    }
}

/// Uses all cores, as the run does; the engine's serving threads limit new threads to one.
fn compute_on_all_cores() {
    // Read first, because the first read of a thread sets the number anew.
    tch::get_num_threads();
    let cores = std::thread::available_parallelism().map_or(1, Into::into);
    tch::set_num_threads(i32::try_from(cores).unwrap_or(i32::MAX));
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn catalog() -> Catalog {
    let own = std::env::var_os("DIGITD_DATA_DIR").map(Into::into);
    let fetched = concat!(env!("CARGO_MANIFEST_DIR"), "/data").into();
    Catalog::new([own, Some(fetched)].into_iter().flatten().collect(), FetchPolicy::Never)
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
