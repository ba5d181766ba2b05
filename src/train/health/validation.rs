//! Rules over a validation pass: channels that stayed zero, classes that were never predicted.
//! Pure functions over counts.

use super::warning::{Measurement, Rule, RuleViolation, Subject};
use crate::metric::ConfusionMatrix;

/// A ReLU layer with channels that were zero for every validation image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::train) struct DeadChannels {
    pub name: String,
    /// Counted from 0, ascending.
    pub channels: Vec<u32>,
    /// Channels of the layer.
    pub width: u32,
}

/// With fewer images a channel that stayed zero, or a class that no prediction named, may be a coincidence.
pub(super) const MIN_IMAGES: u32 = 100;

/// Images of a class below which it may be missed by chance.
pub(super) const MIN_SUPPORT: u32 = 10;

/// Channels that one warning lists; it counts all of them.
pub(super) const MAX_LISTED: usize = 1000;

pub(super) fn dead_channels(layer: &DeadChannels, images: u32) -> Option<RuleViolation> {
    (images >= MIN_IMAGES && !layer.channels.is_empty()).then(|| RuleViolation {
        rule: Rule::DeadChannels,
        subject: Subject {
            layer: Some(layer.name.clone()),
            channels: layer.channels.iter().copied().take(MAX_LISTED).collect(),
            ..Subject::default()
        },
        measurements: vec![
            Measurement::beyond("dead_channels", layer.channels.len() as f64, 0.0),
            Measurement::new("channels", f64::from(layer.width)),
            Measurement::new("validation_images", f64::from(images)),
        ],
        advice: "These channels are zero for every validation image, and nothing reaches the weights before them: \
                 lower the learning rate, or start from other initial weights.",
    })
}

pub(super) fn never_predicted(confusion: &ConfusionMatrix) -> Option<RuleViolation> {
    let classes = confusion.classes();
    let predicted = |class: usize| (0..classes).map(|label| confusion.row(label)[class]).sum::<u32>();
    let support = |class: usize| confusion.row(class).iter().sum::<u32>();
    let missed: Vec<usize> =
        (0..classes).filter(|&class| support(class) >= MIN_SUPPORT && predicted(class) == 0).collect();
    (confusion.total() >= MIN_IMAGES && !missed.is_empty()).then(|| RuleViolation {
        rule: Rule::ClassNeverPredicted,
        measurements: vec![
            Measurement::beyond("classes_never_predicted", missed.len() as f64, 0.0),
            Measurement::new("validation_images", missed.iter().map(|&class| f64::from(support(class))).sum()),
        ],
        subject: Subject {
            classes: missed.into_iter().map(|class| class as u32).collect(),
            ..Subject::default()
        },
        advice: "Validation images of these classes exist, and none was predicted as one: check whether the training \
                 images have them, train longer, or lower the learning rate.",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inactive_channel_is_dead_where_the_images_are_many() {
        let layer = |channels| DeadChannels { name: "relu1".to_owned(), channels, width: 20 };
        let found = dead_channels(&layer(vec![3, 7]), 100).unwrap();
        assert_eq!((found.subject.layer.as_deref(), found.subject.channels), (Some("relu1"), vec![3, 7]));
        assert_eq!(found.measurements[0], Measurement::beyond("dead_channels", 2.0, 0.0));
        assert_eq!(dead_channels(&layer(vec![3]), 99), None);
        assert_eq!(dead_channels(&layer(vec![]), 1000), None);
        let wide = dead_channels(&layer((0..2000).collect()), 100).unwrap();
        assert_eq!((wide.subject.channels.len(), wide.measurements[0].value), (1000, 2000.0));
    }

    #[test]
    fn a_class_with_images_and_no_predictions_is_reported() {
        let matrix = |pairs: &[(usize, usize, usize)]| {
            let mut matrix = ConfusionMatrix::new(3);
            for &(label, prediction, times) in pairs {
                (0..times).for_each(|_| matrix.add(label, prediction));
            }
            matrix
        };
        let found = never_predicted(&matrix(&[(0, 0, 80), (1, 0, 10), (2, 2, 10)])).unwrap();
        assert_eq!(found.subject.classes, [1]);
        assert_eq!(found.measurements[1].value, 10.0);
        assert_eq!(never_predicted(&matrix(&[(0, 0, 90), (1, 0, 9), (2, 2, 10)])), None, "too few of it");
        assert_eq!(never_predicted(&matrix(&[(0, 0, 80), (2, 2, 20)])), None, "not there");
        assert_eq!(never_predicted(&matrix(&[(0, 0, 80), (2, 1, 20)])).unwrap().subject.classes, [2]);
    }
}
