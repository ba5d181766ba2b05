//! Which numbers of clipping, smoothing, averaging and augmentation make sense.

use super::{below_one, positive};
use crate::{data::Augmentation, ids::FieldError, nn::LayerShape, train::TrainConfig};

impl TrainConfig {
    pub(super) fn check_regularizers(&self) -> Result<(), FieldError> {
        below_one("label_smoothing", self.label_smoothing)?;
        if let Some(norm) = self.clip_gradient_norm {
            positive("clip_gradient_norm", norm)?;
        }
        if let Some(averaging) = self.weight_averaging {
            below_one("weight_averaging.decay", averaging.decay)?;
        }
        check_augmentation(&self.augmentation)
    }
}

impl TrainConfig {
    /// Batches of one image would leave such a layer with its initial statistics for ever. One at an
    /// epoch's end does no harm: it is normalised with what the others left.
    pub(in crate::train) fn check_batch_norm(
        &self,
        shapes: &[LayerShape],
        train_images: usize,
    ) -> Result<(), FieldError> {
        let single = |shape: &LayerShape| {
            !shape.running_statistics.is_empty() && shape.input.len() == shape.input.channels()
        };
        let layer = self.network.layers.iter().zip(shapes).find(|(_, shape)| single(shape));
        let (field, is) = match (self.batch_size, train_images, self.dataset.max_train_images) {
            (1, ..) => ("batch_size", "is 1"),
            (_, 1, Some(1)) => ("dataset.max_train_images", "is 1"),
            (_, 1, _) => ("dataset", "has 1 training image"),
            _ => return Ok(()),
        };
        let Some((layer, shape)) = layer else { return Ok(()) };
        let message = format!(
            "{is}: layer {:?} normalises {} over the batch, and one value has no variance: use 2 or more",
            layer.name, shape.input
        );
        Err(FieldError::new(field, message))
    }
}

fn check_augmentation(augmentation: &Augmentation) -> Result<(), FieldError> {
    for (field, value, most) in [
        ("rotation_degrees", augmentation.rotation_degrees, 180.0),
        ("shift_pixels", augmentation.shift_pixels, 64.0),
        // Nearer to 90 degrees nothing of an image is left.
        ("shear_degrees", augmentation.shear_degrees, 80.0),
        ("elastic_alpha", augmentation.elastic_alpha, 1000.0),
    ] {
        if !(0.0..=most).contains(&value) {
            return Err(FieldError::new(
                format!("augmentation.{field}"),
                format!("is {value}: use a number from 0 to {most}"),
            ));
        }
    }
    below_one("augmentation.scale", augmentation.scale)?;
    let sigma = augmentation.elastic_sigma;
    if (0.1..=64.0).contains(&sigma) {
        return Ok(());
    }
    Err(FieldError::new("augmentation.elastic_sigma", format!("is {sigma}: use a number from 0.1 to 64")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{data::dataset::Dims, nn::NetworkConfig, optim::WeightAveraging};

    fn rejection(change: impl FnOnce(&mut TrainConfig)) -> String {
        let mut config = TrainConfig::default();
        change(&mut config);
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn clipping_smoothing_and_averaging_out_of_range_are_rejected_by_their_field() {
        for smoothing in [-0.1, 1.0, f64::NAN, f64::INFINITY] {
            let message = rejection(|config| config.label_smoothing = smoothing);
            assert!(message.starts_with("label_smoothing is "), "{message}");
        }
        for decay in [-0.1, 1.0, f64::NAN] {
            let message = rejection(|config| config.weight_averaging = Some(WeightAveraging { decay }));
            assert!(message.starts_with("weight_averaging.decay is "), "{message}");
        }
        for norm in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let message = rejection(|config| config.clip_gradient_norm = Some(norm));
            assert!(message.starts_with("clip_gradient_norm is "), "{message}");
        }
    }

    #[test]
    fn a_batch_of_one_image_is_rejected_where_a_layer_has_one_value_a_channel_of_it() {
        let message = rejection(|config| {
            config.network = NetworkConfig::deep();
            config.batch_size = 1;
        });
        assert!(message.starts_with("batch_size is 1: layer \"bn5\" normalises [N,256]"), "{message}");
        let message = rejection(|config| {
            config.network = NetworkConfig::deep();
            config.dataset.max_train_images = Some(1);
        });
        assert!(message.starts_with("dataset.max_train_images is 1: layer \"bn5\" normalises"), "{message}");
        let deep = TrainConfig { network: NetworkConfig::deep(), ..TrainConfig::default() };
        let shapes = deep.check_for(Dims::MNIST).unwrap();
        let message = deep.check_batch_norm(&shapes, 1).unwrap_err().to_string();
        assert!(message.starts_with("dataset has 1 training image: layer \"bn5\""), "{message}");
        deep.check_batch_norm(&shapes, 101).unwrap();
        let mut maps = NetworkConfig::deep();
        maps.layers.retain(|layer| layer.name != "bn5");
        TrainConfig { network: maps, batch_size: 1, ..TrainConfig::default() }.check().unwrap();
    }

    #[test]
    fn augmentation_out_of_range_is_rejected_by_its_field() {
        let message = |change: fn(&mut Augmentation)| rejection(|config| change(&mut config.augmentation));
        for (message, expected) in [
            (
                message(|it| it.rotation_degrees = 181.0),
                "rotation_degrees is 181: use a number from 0 to 180",
            ),
            (message(|it| it.rotation_degrees = f64::NAN), "rotation_degrees is NaN"),
            (message(|it| it.shift_pixels = -1.0), "shift_pixels is -1"),
            (message(|it| it.shear_degrees = 90.0), "shear_degrees is 90: use a number from 0 to 80"),
            (message(|it| it.scale = 1.0), "scale is 1: use a number from 0 to below 1"),
            (message(|it| it.elastic_alpha = f64::INFINITY), "elastic_alpha is inf"),
            (message(|it| it.elastic_sigma = 0.0), "elastic_sigma is 0: use a number from 0.1 to 64"),
            (message(|it| it.elastic_sigma = 1e9), "elastic_sigma is 1000000000"),
        ] {
            assert!(message.starts_with(&format!("augmentation.{expected}")), "{message}");
        }
    }
}
