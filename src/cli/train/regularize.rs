//! Flags of `digitd train` against overfitting: regularization and augmentation.

use super::set::set;
use crate::pb::digitd::v1::{Augmentation, TrainRequest, WeightAveraging};

#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Regularization")]
pub struct RegularizeArgs {
    /// Clips the gradient to this L2 norm [default: no limit]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    clip_gradient_norm: Option<f64>,

    /// Label smoothing: the fraction of a label that is spread over all classes [default: 0]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    label_smoothing: Option<f64>,

    /// Validates and publishes the moving average of the weights with this decay, for instance 0.999
    /// [default: off]
    #[arg(long, value_name = "DECAY", allow_negative_numbers = true)]
    weight_averaging: Option<f64>,

    /// Rotates each training image by up to this many degrees in either direction [default: 0]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    rotation_degrees: Option<f64>,

    /// Shifts each training image by up to this many pixels in either direction [default: 0]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    shift_pixels: Option<f64>,

    /// Scales each training image by a factor that differs from 1 by up to this [default: 0]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    scale: Option<f64>,

    /// Shears each training image by up to this many degrees in either direction [default: 0]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    shear_degrees: Option<f64>,

    /// Elastic distortion of each training image, of this strength, for instance 34 [default: 0]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    elastic_alpha: Option<f64>,

    /// Smoothness of the elastic distortion, in pixels [default: 4]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    elastic_sigma: Option<f64>,
}

impl RegularizeArgs {
    /// Sets the fields whose flags are given.
    pub fn apply(&self, request: &mut TrainRequest) {
        set(&mut request.clip_gradient_norm, self.clip_gradient_norm);
        set(&mut request.label_smoothing, self.label_smoothing);
        if self.weight_averaging.is_some() {
            request.weight_averaging = Some(WeightAveraging { decay: self.weight_averaging });
        }
        let mut augmentation = request.augmentation.unwrap_or_default();
        set(&mut augmentation.rotation_degrees, self.rotation_degrees);
        set(&mut augmentation.shift_pixels, self.shift_pixels);
        set(&mut augmentation.scale, self.scale);
        set(&mut augmentation.shear_degrees, self.shear_degrees);
        set(&mut augmentation.elastic_alpha, self.elastic_alpha);
        set(&mut augmentation.elastic_sigma, self.elastic_sigma);
        if augmentation != Augmentation::default() {
            request.augmentation = Some(augmentation);
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::report::json;

    #[derive(Parser)]
    struct RegularizeLine {
        #[command(flatten)]
        args: RegularizeArgs,
    }

    fn request(line: &str) -> String {
        let line =
            RegularizeLine::try_parse_from(["train"].into_iter().chain(line.split_whitespace())).unwrap();
        let mut request = TrainRequest::default();
        line.args.apply(&mut request);
        json::line("TrainRequest", &request)
    }

    #[test]
    fn every_flag_reaches_its_field() {
        let line = "--weight-averaging 0.99 --clip-gradient-norm 0.25 --label-smoothing 0.125 --rotation-degrees 10 --shift-pixels 2 \
                    --scale 0.5 --shear-degrees 3 --elastic-alpha 34 --elastic-sigma 5";
        let expected = r#"{"augmentation":{"rotationDegrees":10.0,"shiftPixels":2.0,"scale":0.5,"shearDegrees":3.0,"elasticAlpha":34.0,"elasticSigma":5.0},"clipGradientNorm":0.25,"labelSmoothing":0.125,"weightAveraging":{"decay":0.99}}"#;
        assert_eq!(request(line), expected);
    }

    #[test]
    fn a_flag_that_is_not_set_leaves_its_field_unset() {
        let augmentation = Augmentation { scale: Some(0.5), ..Augmentation::default() };
        let mut request = TrainRequest { augmentation: Some(augmentation), ..TrainRequest::default() };
        RegularizeArgs { shift_pixels: Some(2.0), ..RegularizeArgs::default() }.apply(&mut request);
        let expected = Augmentation { shift_pixels: Some(2.0), ..augmentation };
        assert_eq!(request.augmentation, Some(expected));
    }
}
