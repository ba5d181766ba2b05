//! What the tests of runs share: hooks that keep what a run reports, and small runs.

use tch::{Device, Kind};

use super::{BatchReport, Event, RunHooks, TrainConfig, Trainer, TrainingProgress};
use crate::{
    data::{ImageSet, Splits, dataset::Dims, synthetic},
    nn::{Network, Shape},
};

/// Keeps what a run reports.
#[derive(Default)]
pub struct EventRecorder(pub Vec<Event>);

impl RunHooks for EventRecorder {
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

impl EventRecorder {
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
    let all = synthetic::draw(0, synthetic::DigitStream::Train, 0..train + validation);
    Splits {
        train: all.slice(0..train),
        validation: all.slice(train..train + validation),
        test: ImageSet::new(Dims::MNIST, Vec::new(), Vec::new()).expect("no images have no wrong size"),
    }
}

/// A completed run: its reports and its network.
pub fn train(config: TrainConfig, network: Network, splits: &Splits) -> (EventRecorder, Trainer) {
    let mut recorder = EventRecorder::default();
    let mut trainer = Trainer::with_network(config, network, splits);
    trainer.fit(&mut recorder).expect("a run that keeps nothing ends");
    (recorder, trainer)
}
