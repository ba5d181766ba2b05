//! The augmentation of a request ⇄ that of a run.

use crate::{data::Augmentation, pb::digitd::v1};

/// The augmentation of a request. A number that is left out changes nothing.
pub fn augmentation(given: v1::Augmentation) -> Augmentation {
    let default = Augmentation::default();
    Augmentation {
        rotation_degrees: given.rotation_degrees.unwrap_or(default.rotation_degrees),
        shift_pixels: given.shift_pixels.unwrap_or(default.shift_pixels),
        scale: given.scale.unwrap_or(default.scale),
        shear_degrees: given.shear_degrees.unwrap_or(default.shear_degrees),
        elastic_alpha: given.elastic_alpha.unwrap_or(default.elastic_alpha),
        elastic_sigma: given.elastic_sigma.unwrap_or(default.elastic_sigma),
    }
}

/// An augmentation with all its numbers.
pub fn from_augmentation(config: &Augmentation) -> v1::Augmentation {
    v1::Augmentation {
        rotation_degrees: Some(config.rotation_degrees),
        shift_pixels: Some(config.shift_pixels),
        scale: Some(config.scale),
        shear_degrees: Some(config.shear_degrees),
        elastic_alpha: Some(config.elastic_alpha),
        elastic_sigma: Some(config.elastic_sigma),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_augmentation_moves_nothing() {
        assert!(augmentation(v1::Augmentation::default()).is_none());
        let shift = v1::Augmentation { shift_pixels: Some(2.0), ..v1::Augmentation::default() };
        assert_eq!(augmentation(shift), Augmentation { shift_pixels: 2.0, ..Augmentation::default() });
    }

    #[test]
    fn every_number_survives_a_round_trip() {
        let config = Augmentation {
            rotation_degrees: 1.0,
            shift_pixels: 2.0,
            scale: 0.3,
            shear_degrees: 4.0,
            elastic_alpha: 5.0,
            elastic_sigma: 6.0,
        };
        assert_eq!(augmentation(from_augmentation(&config)), config);
    }
}
