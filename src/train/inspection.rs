//! The inspection of a batch during a run. What it shows is computed by `inspect`.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::InspectAt;
use crate::{
    inspect::{self, Report},
    nn::{Mode, Network, StepSeed},
};

/// An inspection of a batch, before its step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    pub at: InspectAt,
    /// The batch in its run, counted from 1.
    pub step: u32,
    /// The label of the first image; with contents only.
    pub label: Option<u8>,
    pub report: Report,
}

impl Inspection {
    /// Inspects a batch that is about to be trained on; the label is that of its first image. The
    /// forward pass is an additional one with the same weights and the same dropout mask, so that the
    /// step that follows is unchanged.
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
        nn::{DropoutConfig, DropoutMode, LayerKind, LinearConfig, NetworkConfig},
        optim::{OptimizerConfig, Schedule},
        train::{
            Event, TrainConfig, Trainer,
            testing::{digits, network, train},
        },
    };

    const FIRST: InspectAt = InspectAt { epoch: 1, batch: 1, shapes: true, contents: true };

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
    fn a_batch_is_inspected_before_its_step_and_the_run_is_unchanged() {
        let splits = digits(6, 0);
        let run = |epochs, inspect_at| {
            let config = dropping(epochs, inspect_at);
            let weights = network(&config);
            train(config, weights, &splits)
        };
        let at = InspectAt { epoch: 2, batch: 2, shapes: true, contents: true };
        let (recorder, shown) = run(2, vec![at, InspectAt { batch: 3, contents: false, ..at }]);
        assert_eq!(shown.network().parameters().flat(), run(2, Vec::new()).1.network().parameters().flat());
        let inspections: Vec<&Inspection> = recorder
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
    fn an_inspection_with_infinite_numbers_is_read_back() {
        let config = dropping(1, vec![FIRST]);
        let mut weights = network(&config);
        weights
            .parameters_mut()
            .assign(1, &Tensor::full([10], f64::INFINITY, (tch::Kind::Float, tch::Device::Cpu)));
        let (recorder, _) = train(config, weights, &digits(6, 0));
        let event = recorder.0.iter().find(|event| matches!(event, Event::Inspection(_))).unwrap();
        let line = serde_json::to_string(event).unwrap();
        assert!(line.contains("Infinity") && line.contains("NaN"), "{line}");
        let read: Event = serde_json::from_str(&line).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), line);
    }
}
