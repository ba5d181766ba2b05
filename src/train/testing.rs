//! What tests of runs share: hooks that keep what is told, and small runs.

use tch::{Device, Kind};

use super::{BatchReport, Event, RunHooks, TrainConfig, Trainer, TrainingProgress};
use crate::{
    data::{ImageSet, Splits, dataset::Dims, synthetic},
    nn::{Network, Shape},
};

/// Keeps what a run reports.
#[derive(Default)]
pub struct LoggedEvents(pub Vec<Event>);

impl RunHooks for LoggedEvents {
    fn report(&mut self, event: Event) {
        self.0.push(event);
    }

    fn checkpoint(&mut self, _: TrainingProgress, _: Vec<u8>) -> Result<(), String> {
        Ok(())
    }

    fn stop_requested(&self) -> bool {
        false
    }
}

impl LoggedEvents {
    pub fn batches(&self) -> Vec<BatchReport> {
        let batch = |event: &Event| match event {
            Event::Batch(batch) => Some(*batch),
            _ => None,
        };
        self.0.iter().filter_map(batch).collect()
    }
}

/// A network for MNIST's images with the initial weights of its run.
pub fn network(config: &TrainConfig) -> Network {
    let mut network = Network::zeros(&config.network, Shape::grey(28, 28), 10, Kind::Float, Device::Cpu)
        .expect("the layers of a test fit together");
    network.initialize(config.seed);
    network
}

/// The first of the built-in digits.
pub fn digits(train: usize, validation: usize) -> Splits {
    let all = synthetic::draw(0, synthetic::Source::Train, 0..train + validation);
    Splits {
        train: all.slice(0..train),
        validation: all.slice(train..train + validation),
        test: ImageSet::new(Dims::MNIST, Vec::new(), Vec::new()).expect("no images have no wrong size"),
    }
}

/// A run to its end: what it told, and its network.
pub fn train(config: TrainConfig, network: Network, splits: &Splits) -> (LoggedEvents, Trainer) {
    let mut told = LoggedEvents::default();
    let mut trainer = Trainer::with_network(config, network, splits);
    trainer.fit(&mut told).expect("a run that keeps nothing ends");
    (told, trainer)
}
