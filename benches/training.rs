//! Whole epochs of training, everything included but the store: images per second as JSON lines,
//! in the units of the reference measurements of other frameworks. MNIST where it is found, else
//! the built-in digits.

use std::time::Instant;

use digitd::{
    data::{Catalog, DatasetSpec, FetchPolicy, Splits, ValidationSize},
    train::{Event, Position, RunHooks, TrainConfig, Trainer, ValidationConfig},
};
use tch::Device;

const REPEATS: usize = 5;

#[allow(clippy::print_stdout, reason = "figures are what a bench is for")]
fn main() {
    let splits = splits();
    for batch_size in [100, 1024] {
        let mut epochs: Vec<f64> = (0..REPEATS).map(|_| epoch(&splits, batch_size)).collect();
        epochs.sort_by(f64::total_cmp);
        let median = epochs[REPEATS / 2];
        let spread = 100.0 * (epochs[REPEATS - 1] - epochs[0]) / median;
        let images = splits.train.len() as f64;
        println!(
            "{{\"what\": \"train\", \"variant\": \"digitd\", \"batch\": {batch_size}, \"threads\": {}, \
             \"images_s\": {:.1}, \"epoch_s\": {median:.3}, \"spread_pct\": {spread:.1}, \"reps\": {REPEATS}}}",
            tch::get_num_threads(),
            images / median,
        );
    }
}

/// Seconds of one epoch over all training images, order, gathering, reports and checkpoint included.
fn epoch(splits: &Splits, batch_size: u32) -> f64 {
    let config = TrainConfig {
        epochs: 1,
        batch_size,
        validation: ValidationConfig { size: ValidationSize::Count(0), every_epochs: 1 },
        ..TrainConfig::default()
    };
    let mut trainer =
        Trainer::new(config, None, splits, Device::Cpu).expect("the default request makes sense");
    let began = Instant::now();
    trainer.fit(&mut Sink).expect("a sink keeps everything");
    began.elapsed().as_secs_f64()
}

fn splits() -> Splits {
    let own = std::env::var_os("DIGITD_DATA_DIR").map(Into::into);
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/mnist").into();
    let catalog = Catalog::new([own, Some(beside)].into_iter().flatten().collect(), FetchPolicy::Never);
    let load = |name: &str| {
        let name = name.parse().expect("a data set name");
        let spec = DatasetSpec { name, seed: None, max_train_images: None };
        catalog.load(&spec, ValidationSize::Count(10_000))
    };
    load("mnist").or_else(|_| load("synthetic")).expect("the built-in digits need nothing")
}

struct Sink;

impl RunHooks for Sink {
    fn report(&mut self, event: Event) {
        std::hint::black_box(event);
    }

    fn checkpoint(&mut self, _: Position, bytes: Vec<u8>) -> Result<(), String> {
        std::hint::black_box(bytes);
        Ok(())
    }

    fn stop_requested(&self) -> bool {
        false
    }
}
