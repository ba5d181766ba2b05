//! Which numbers of clipping, smoothing and augmentation make sense.

use super::{Invalid, below_one, invalid, positive};
use crate::{data::Augmentation, train::TrainConfig};

impl TrainConfig {
    pub(super) fn check_regularizers(&self) -> Result<(), Invalid> {
        below_one("label_smoothing", self.label_smoothing)?;
        if let Some(norm) = self.clip_gradient_norm {
            positive("clip_gradient_norm", norm)?;
        }
        check_augmentation(&self.augmentation)
    }
}

fn check_augmentation(augmentation: &Augmentation) -> Result<(), Invalid> {
    for (field, value, most) in [
        ("rotation_degrees", augmentation.rotation_degrees, 180.0),
        ("shift_pixels", augmentation.shift_pixels, 64.0),
        // Nearer to 90 degrees nothing of an image is left.
        ("shear_degrees", augmentation.shear_degrees, 80.0),
        ("elastic_alpha", augmentation.elastic_alpha, 1000.0),
    ] {
        if !(0.0..=most).contains(&value) {
            return Err(invalid(
                &format!("augmentation.{field}"),
                format!("is {value}: use a number from 0 to {most}"),
            ));
        }
    }
    below_one("augmentation.scale", augmentation.scale)?;
    let sigma = augmentation.elastic_sigma;
    if (0.1..=64.0).contains(&sigma) {
        return Ok(());
    }
    Err(invalid("augmentation.elastic_sigma", format!("is {sigma}: use a number from 0.1 to 64")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut TrainConfig)) -> String {
        let mut config = TrainConfig::default();
        change(&mut config);
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn clipping_and_smoothing_out_of_range_are_told_by_their_field() {
        for smoothing in [-0.1, 1.0, f64::NAN, f64::INFINITY] {
            let told = refused(|config| config.label_smoothing = smoothing);
            assert!(told.starts_with("label_smoothing is "), "{told}");
        }
        for norm in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let told = refused(|config| config.clip_gradient_norm = Some(norm));
            assert!(told.starts_with("clip_gradient_norm is "), "{told}");
        }
    }

    #[test]
    fn augmentation_out_of_range_is_told_by_its_field() {
        let told = |change: fn(&mut Augmentation)| refused(|config| change(&mut config.augmentation));
        for (told, expected) in [
            (told(|it| it.rotation_degrees = 181.0), "rotation_degrees is 181: use a number from 0 to 180"),
            (told(|it| it.rotation_degrees = f64::NAN), "rotation_degrees is NaN"),
            (told(|it| it.shift_pixels = -1.0), "shift_pixels is -1"),
            (told(|it| it.shear_degrees = 90.0), "shear_degrees is 90: use a number from 0 to 80"),
            (told(|it| it.scale = 1.0), "scale is 1: use a number from 0 to below 1"),
            (told(|it| it.elastic_alpha = f64::INFINITY), "elastic_alpha is inf"),
            (told(|it| it.elastic_sigma = 0.0), "elastic_sigma is 0: use a number from 0.1 to 64"),
            (told(|it| it.elastic_sigma = 1e9), "elastic_sigma is 1000000000"),
        ] {
            assert!(told.starts_with(&format!("augmentation.{expected}")), "{told}");
        }
    }
}
