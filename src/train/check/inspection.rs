//! Which batches may be inspected.

use crate::{
    ids::FieldError,
    inspect,
    nn::LayerShape,
    train::{InspectAt, TrainConfig},
};

impl TrainConfig {
    pub const MAX_INSPECTIONS: usize = 32;

    /// Largest number of values of one inspection: half a megabyte in a message, 1.3 in the event
    /// log.
    const MAX_INSPECTION_NUMBERS: usize = 1 << 16;

    pub(in crate::train) fn check_inspections(&self, shapes: &[LayerShape]) -> Result<(), FieldError> {
        if self.inspect_at.len() > Self::MAX_INSPECTIONS {
            let message =
                format!("has {} entries: name at most {}", self.inspect_at.len(), Self::MAX_INSPECTIONS);
            return Err(FieldError::new("inspect_at", message));
        }
        let numbers = inspect::batch_numbers(shapes);
        for (index, at) in self.inspect_at.iter().enumerate() {
            let field = |name: &str| format!("inspect_at[{index}]{name}");
            if !(1..=self.epochs).contains(&at.epoch) {
                let message = format!("is {}: use 1 to {}, the run's epochs", at.epoch, self.epochs);
                return Err(FieldError::new(field(".epoch"), message));
            }
            if at.batch == 0 {
                return Err(FieldError::new(field(".batch"), "is 0: batches count from 1".to_owned()));
            }
            if !at.shapes && !at.contents {
                return Err(FieldError::new(
                    field(""),
                    "shows nothing: set shapes, contents or both".to_owned(),
                ));
            }
            if at.contents && numbers > Self::MAX_INSPECTION_NUMBERS {
                let message = format!(
                    "would be {numbers} numbers, and an event holds {}: ask for shapes, or inspect the \
                     published version",
                    Self::MAX_INSPECTION_NUMBERS
                );
                return Err(FieldError::new(field(".contents"), message));
            }
            let same = |other: &InspectAt| (other.epoch, other.batch) == (at.epoch, at.batch);
            if self.inspect_at[..index].iter().any(same) {
                let message =
                    format!("names epoch {}, batch {} again: name each batch once", at.epoch, at.batch);
                return Err(FieldError::new(field(""), message));
            }
        }
        Ok(())
    }

    /// Checks what only the data decides: whether the epoch has so many batches.
    pub(in crate::train) fn check_inspected_batches(&self, batches_per_epoch: u32) -> Result<(), FieldError> {
        let beyond = |at: &InspectAt| at.batch > batches_per_epoch;
        match self.inspect_at.iter().position(beyond) {
            None => Ok(()),
            Some(index) => {
                let message = format!(
                    "is {}: an epoch has {batches_per_epoch} batches, counted from 1",
                    self.inspect_at[index].batch
                );
                Err(FieldError::new(format!("inspect_at[{index}].batch"), message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{ConvConfig, LayerKind, LinearConfig, NetworkConfig};

    const FIRST: InspectAt = InspectAt { epoch: 1, batch: 1, shapes: true, contents: true };

    fn check(inspect_at: Vec<InspectAt>) -> Result<(), String> {
        let config = TrainConfig { inspect_at, ..TrainConfig::default() };
        config.check().map_err(|error| error.to_string())
    }

    #[test]
    fn a_batch_that_the_run_does_not_have_is_rejected_by_its_index() {
        check(vec![FIRST, InspectAt { batch: 401, ..FIRST }]).unwrap();
        let message = |at| check(vec![FIRST, at]).unwrap_err();
        let sixth = message(InspectAt { epoch: 6, ..FIRST });
        assert_eq!(sixth, "inspect_at[1].epoch is 6: use 1 to 5, the run's epochs");
        assert!(message(InspectAt { epoch: 0, ..FIRST }).starts_with("inspect_at[1].epoch is 0"));
        assert!(message(InspectAt { batch: 0, ..FIRST }).starts_with("inspect_at[1].batch is 0"));
        assert!(
            message(InspectAt { shapes: false, ..FIRST }).starts_with("inspect_at[1] names epoch 1, batch 1")
        );
        let nothing = InspectAt { epoch: 2, shapes: false, contents: false, ..FIRST };
        assert!(message(nothing).starts_with("inspect_at[1] shows nothing"));
        let beyond =
            TrainConfig { inspect_at: vec![InspectAt { batch: 501, ..FIRST }], ..TrainConfig::default() };
        assert!(beyond.check_inspected_batches(501).is_ok());
        let message = beyond.check_inspected_batches(500).unwrap_err().to_string();
        assert_eq!(message, "inspect_at[0].batch is 501: an epoch has 500 batches, counted from 1");
    }

    #[test]
    fn the_number_and_contents_of_inspections_are_bounded() {
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
        let message = config(true).check().unwrap_err().to_string();
        assert!(message.starts_with("inspect_at[0].contents would be 215486 numbers"), "{message}");
        config(false).check().unwrap();
    }
}
