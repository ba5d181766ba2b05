//! Which batches a run shows layer by layer, and what is told of one. What is shown lives in
//! `inspect`.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{Invalid, TrainConfig, check::invalid};
use crate::{
    inspect::{self, Report},
    nn::{LayerShape, Mode, Network, StepSeed},
};

/// A batch to be shown, and how deeply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InspectAt {
    /// Counted from 1, as is `batch` (in its epoch).
    pub epoch: u32,
    pub batch: u32,
    /// Hyper-parameters and shapes of every layer.
    pub shapes: bool,
    /// Parameters and outputs.
    pub contents: bool,
}

/// A batch on its way through the network, before its step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    pub at: InspectAt,
    /// The batch in its run, counted from 1.
    pub step: u32,
    /// Of the first image; with contents only.
    pub label: Option<u8>,
    pub report: Report,
}

impl TrainConfig {
    pub const MAX_INSPECTIONS: usize = 32;

    /// Most numbers that one inspection holds: half a megabyte in a message, 1.3 in the event log.
    const MAX_INSPECTION_NUMBERS: usize = 1 << 16;

    pub(super) fn check_inspections(&self, shapes: &[LayerShape]) -> Result<(), Invalid> {
        if self.inspect_at.len() > Self::MAX_INSPECTIONS {
            let message =
                format!("has {} entries: name at most {}", self.inspect_at.len(), Self::MAX_INSPECTIONS);
            return Err(invalid("inspect_at", message));
        }
        let numbers = inspect::batch_numbers(shapes);
        for (index, at) in self.inspect_at.iter().enumerate() {
            let field = |name: &str| format!("inspect_at[{index}]{name}");
            if !(1..=self.epochs).contains(&at.epoch) {
                let message = format!("is {}: use 1 to {}, the run's epochs", at.epoch, self.epochs);
                return Err(invalid(&field(".epoch"), message));
            }
            if at.batch == 0 {
                return Err(invalid(&field(".batch"), "is 0: batches count from 1".to_owned()));
            }
            if !at.shapes && !at.contents {
                return Err(invalid(&field(""), "shows nothing: set shapes, contents or both".to_owned()));
            }
            if at.contents && numbers > Self::MAX_INSPECTION_NUMBERS {
                let message = format!(
                    "would be {numbers} numbers, and an event holds {}: ask for shapes, or inspect the \
                     published version",
                    Self::MAX_INSPECTION_NUMBERS
                );
                return Err(invalid(&field(".contents"), message));
            }
            let same = |other: &InspectAt| (other.epoch, other.batch) == (at.epoch, at.batch);
            if self.inspect_at[..index].iter().any(same) {
                let message =
                    format!("names epoch {}, batch {} again: name each batch once", at.epoch, at.batch);
                return Err(invalid(&field(""), message));
            }
        }
        Ok(())
    }

    /// What only the data can tell: whether there are so many batches.
    pub(super) fn check_inspected_batches(&self, batches_per_epoch: u32) -> Result<(), Invalid> {
        let beyond = |at: &InspectAt| at.batch > batches_per_epoch;
        match self.inspect_at.iter().position(beyond) {
            None => Ok(()),
            Some(index) => {
                let message = format!(
                    "is {}: an epoch has {batches_per_epoch} batches, counted from 1",
                    self.inspect_at[index].batch
                );
                Err(invalid(&format!("inspect_at[{index}].batch"), message))
            }
        }
    }
}

impl Inspection {
    /// Of a batch that is about to be trained on; `label` is that of its first image. A forward pass
    /// of its own with the same weights, dropout included: the step that follows is what it would
    /// have been.
    pub(super) fn new(
        at: InspectAt,
        network: &Network,
        images: &Tensor,
        labels: &Tensor,
        seed: StepSeed,
    ) -> Self {
        let channels = at.contents.then(|| seed.seed.wrapping_add(u64::from(seed.step)));
        Self {
            at,
            step: seed.step,
            label: at.contents.then(|| labels.int64_value(&[0]) as u8),
            report: inspect::inspect_batch(network, images, Mode::Train(seed), channels),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        data::Order,
        nn::{ConvConfig, DropoutConfig, DropoutMode, LayerKind, LinearConfig, NetworkConfig},
        optim::{OptimizerConfig, Schedule},
        train::{
            Event, Trainer,
            testing::{digits, network, train},
        },
    };

    const FIRST: InspectAt = InspectAt { epoch: 1, batch: 1, shapes: true, contents: true };

    fn check(inspect_at: Vec<InspectAt>) -> Result<(), String> {
        let config = TrainConfig { inspect_at, ..TrainConfig::default() };
        config.check().map_err(|error| error.to_string())
    }

    #[test]
    fn a_batch_that_the_run_does_not_have_is_told_by_its_place() {
        check(vec![FIRST, InspectAt { batch: 401, ..FIRST }]).unwrap();
        let told = |at| check(vec![FIRST, at]).unwrap_err();
        let sixth = told(InspectAt { epoch: 6, ..FIRST });
        assert_eq!(sixth, "inspect_at[1].epoch is 6: use 1 to 5, the run's epochs");
        assert!(told(InspectAt { epoch: 0, ..FIRST }).starts_with("inspect_at[1].epoch is 0"));
        assert!(told(InspectAt { batch: 0, ..FIRST }).starts_with("inspect_at[1].batch is 0"));
        assert!(
            told(InspectAt { shapes: false, ..FIRST }).starts_with("inspect_at[1] names epoch 1, batch 1")
        );
        let nothing = InspectAt { epoch: 2, shapes: false, contents: false, ..FIRST };
        assert!(told(nothing).starts_with("inspect_at[1] shows nothing"));
        let beyond =
            TrainConfig { inspect_at: vec![InspectAt { batch: 501, ..FIRST }], ..TrainConfig::default() };
        assert!(beyond.check_inspected_batches(501).is_ok());
        let told = beyond.check_inspected_batches(500).unwrap_err().to_string();
        assert_eq!(told, "inspect_at[0].batch is 501: an epoch has 500 batches, counted from 1");
    }

    #[test]
    fn the_number_of_inspections_and_of_what_they_hold_is_bounded() {
        let many = (1..=33).map(|batch| InspectAt { batch, ..FIRST }).collect();
        assert!(check(many).unwrap_err().starts_with("inspect_at has 33 entries: name at most 32"));
        let wide = LayerKind::Conv(ConvConfig { out_channels: 1, kernel_size: 1, stride: 1, padding: 120 });
        let linear = LayerKind::Linear(LinearConfig { out_features: 10 });
        let layers = vec![(None, wide), (None, LayerKind::Flatten), (None, linear)];
        let config = |contents| TrainConfig {
            network: NetworkConfig::from_layers(layers.clone()),
            inspect_at: vec![InspectAt { contents, ..FIRST }],
            ..TrainConfig::default()
        };
        let told = config(true).check().unwrap_err().to_string();
        assert!(told.starts_with("inspect_at[0].contents would be 215486 numbers"), "{told}");
        config(false).check().unwrap();
    }

    /// Six digits in batches of two, half of the pixels dropped.
    fn dropping(epochs: u32, inspect_at: Vec<InspectAt>) -> TrainConfig {
        let dropout = DropoutConfig { probability: 0.5, axes: Vec::new(), mode: DropoutMode::UpscaleInTrain };
        let linear = LayerKind::Linear(LinearConfig { out_features: 10 });
        let layers = [LayerKind::Flatten, LayerKind::Dropout(dropout), linear];
        TrainConfig {
            network: NetworkConfig::from_layers(layers.map(|kind| (None, kind)).into()),
            epochs,
            batch_size: 2,
            order: Order::File,
            optimizer: OptimizerConfig::sgd(0.1),
            schedule: Schedule::default(),
            inspect_at,
            ..TrainConfig::default()
        }
    }

    #[test]
    fn a_batch_is_shown_as_it_goes_through_before_its_step_and_the_run_stays_what_it_was() {
        let splits = digits(6, 0);
        let run = |epochs, inspect_at| {
            let config = dropping(epochs, inspect_at);
            let weights = network(&config);
            train(config, weights, &splits)
        };
        let at = InspectAt { epoch: 2, batch: 2, shapes: true, contents: true };
        let (told, shown) = run(2, vec![at, InspectAt { batch: 3, contents: false, ..at }]);
        assert_eq!(shown.network().parameters().flat(), run(2, Vec::new()).1.network().parameters().flat());
        let inspections: Vec<&Inspection> = told
            .0
            .iter()
            .filter_map(|event| match event {
                Event::Inspection(inspection) => Some(&**inspection),
                _ => None,
            })
            .collect();
        assert_eq!(inspections.iter().map(|it| (it.at.batch, it.step)).collect::<Vec<_>>(), [(2, 5), (3, 6)]);
        let (full, bare) = (inspections[0], inspections[1]);
        assert_eq!((full.label, bare.label), (Some(splits.train.label(2)), None));
        assert_eq!(full.report.layers[2].output_shape, [2, 10]);
        assert!(bare.report.logits.is_empty() && bare.report.layers.iter().all(|it| it.output.is_none()));

        // The same by hand: the weights before the fifth step, and the mask of that step.
        let order = TrainConfig { report_every_batches: 1, ..dropping(2, Vec::new()) };
        let weights = network(&order);
        let mut trainer = Trainer::with_network(order, weights, &splits);
        for step in 1..=4 {
            trainer.step = step;
            let first = i64::from((step - 1) % 3) * 2;
            let _ = trainer.train_batch((step - 1) / 3 + 1, &Tensor::from_slice(&[first, first + 1]));
        }
        let batch = trainer.train.gather(&Tensor::from_slice(&[2i64, 3]), tch::Kind::Float);
        let mode = Mode::Train(StepSeed { seed: 0, epoch: 2, step: 5 });
        let logits = trainer.network.forward(&batch.images, mode).get(0).to_kind(tch::Kind::Double);
        assert_eq!(full.report.logits, Vec::<f64>::try_from(logits).unwrap());
        let dropped = full.report.layers[1].output.as_ref().unwrap();
        assert!(dropped.statistics.zero_fraction > 0.5, "{:?}", dropped.statistics);
    }

    #[test]
    fn an_inspection_with_numbers_beyond_all_bounds_is_read_back() {
        let config = dropping(1, vec![FIRST]);
        let mut weights = network(&config);
        weights
            .parameters_mut()
            .assign(1, &Tensor::full([10], f64::INFINITY, (tch::Kind::Float, tch::Device::Cpu)));
        let (told, _) = train(config, weights, &digits(6, 0));
        let event = told.0.iter().find(|event| matches!(event, Event::Inspection(_))).unwrap();
        let line = serde_json::to_string(event).unwrap();
        assert!(line.contains("Infinity") && line.contains("NaN"), "{line}");
        let read: Event = serde_json::from_str(&line).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), line);
    }
}
