//! All measures of one classifier on one set of images.

use super::{
    Averages, Calibration, ClassMetric, ClassScope, ConfusionMatrix, Interval, MAX_TOP, MetricName,
    Predictions, Ranking, Weighting, calibration, ranking, wilson,
};

/// The measures of a classifier on a set of images.
#[derive(Debug, Clone, PartialEq)]
pub struct Measures {
    /// Mean cross-entropy over the images.
    pub loss: f64,
    /// The means over the batches of their mean losses and accuracies, as the tutorial computes them.
    pub batch_mean_loss: f64,
    pub batch_mean_accuracy: f64,
    /// The number of images in such a batch.
    pub batch_size: usize,
    pub confusion: ConfusionMatrix,
    /// The confidence interval of the accuracy; none if there are no images.
    pub interval: Option<Interval>,
    /// Top-k accuracy for k from 1 to 5, or to the number of classes.
    pub top: Vec<f64>,
    /// The ranking measures of each class against the rest.
    pub rankings: Vec<Ranking>,
    pub macro_means: Means,
    /// The means with each class weighted by its images.
    pub weighted_means: Means,
    /// The calibration; none if a probability is not finite.
    pub calibration: Option<Calibration>,
}

/// Means over the classes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Means {
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
    /// The mean over the classes for which it exists.
    pub roc_auc: Option<f64>,
    pub average_precision: Option<f64>,
}

impl Measures {
    /// Computes all measures; `batch_size` is the size of batches for the means of batch means,
    /// `bins` the number of bins of the reliability table.
    pub fn of(predictions: &Predictions, batch_size: usize, bins: usize) -> Self {
        let confusion = predictions.confusion();
        let (batch_mean_loss, batch_mean_accuracy) = predictions.batch_means(batch_size);
        let rankings = rankings(predictions);
        let support: Vec<f64> = confusion.class_reports().iter().map(|it| f64::from(it.support)).collect();
        let alike = vec![1.0; support.len()];
        Self {
            loss: predictions.mean_loss(),
            batch_mean_loss,
            batch_mean_accuracy,
            batch_size,
            interval: wilson(confusion.correct(), confusion.total()),
            top: (1..=MAX_TOP.min(predictions.classes())).map(|k| predictions.top_accuracy(k)).collect(),
            macro_means: Means::of(confusion.averages(Weighting::Macro), &rankings, &alike),
            weighted_means: Means::of(confusion.averages(Weighting::Support), &rankings, &support),
            rankings,
            calibration: calibration(predictions, bins),
            confusion,
        }
    }

    /// Returns the share of images whose prediction is their label.
    pub fn accuracy(&self) -> f64 {
        f64::from(self.confusion.correct()) / f64::from(self.confusion.total())
    }

    /// Returns one measure by its name; none if it does not exist.
    pub fn value(&self, metric: MetricName) -> Option<f64> {
        match metric {
            MetricName::Accuracy => Some(self.accuracy()),
            MetricName::AccuracyLow => self.interval.map(|interval| interval.low),
            MetricName::Loss => Some(self.loss),
            MetricName::CalibrationError => self.calibration.as_ref().map(|it| it.error),
            MetricName::Top(k) => self.top.get(k.checked_sub(1)?).copied(),
            MetricName::ClassMetric(score, ClassScope::Macro) => self.macro_means.score(score),
            MetricName::ClassMetric(score, ClassScope::Weighted) => self.weighted_means.score(score),
            MetricName::ClassMetric(score, ClassScope::Class(class)) => self.class_score(score, class),
        }
    }

    fn class_score(&self, score: ClassMetric, class: usize) -> Option<f64> {
        if class >= self.confusion.classes() {
            return None;
        }
        let report = self.confusion.class_report(class);
        match score {
            ClassMetric::Precision => report.precision,
            ClassMetric::Recall => report.recall,
            ClassMetric::F1 => report.f1,
            ClassMetric::RocAuc => self.rankings[class].roc_auc,
            ClassMetric::AveragePrecision => self.rankings[class].average_precision,
        }
    }
}

impl Means {
    fn of(averages: Averages, rankings: &[Ranking], weights: &[f64]) -> Self {
        let mean = |measure: fn(&Ranking) -> Option<f64>| {
            let there = rankings.iter().zip(weights).filter_map(|(it, weight)| Some((measure(it)?, weight)));
            let (sum, whole) = there
                .fold((0.0, 0.0), |(sum, whole), (value, weight)| (sum + weight * value, whole + weight));
            (whole > 0.0).then(|| sum / whole)
        };
        Self {
            precision: averages.precision,
            recall: averages.recall,
            f1: averages.f1,
            roc_auc: mean(|it| it.roc_auc),
            average_precision: mean(|it| it.average_precision),
        }
    }

    fn score(&self, score: ClassMetric) -> Option<f64> {
        match score {
            ClassMetric::Precision => Some(self.precision),
            ClassMetric::Recall => Some(self.recall),
            ClassMetric::F1 => Some(self.f1),
            ClassMetric::RocAuc => self.roc_auc,
            ClassMetric::AveragePrecision => self.average_precision,
        }
    }
}

/// Ranks the images by the probability of each class, one against the rest.
fn rankings(predictions: &Predictions) -> Vec<Ranking> {
    let scored = |class| {
        let of = |image| (predictions.probability(image, class), predictions.label(image) == class);
        (0..predictions.len()).map(of).collect()
    };
    (0..predictions.classes()).map(|class| ranking(scored(class))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measures() -> Measures {
        // Labels 0, 0, 1; predictions 0, 1, 1; class 2 does not occur.
        let logits = vec![3.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 2.0, 0.0];
        Measures::of(&Predictions::new(3, logits, vec![0, 0, 1]), 2, 15)
    }

    #[test]
    fn every_metric_is_found_by_its_name() {
        let of = |name: &str| measures().value(name.parse().unwrap());
        assert_eq!(of("accuracy"), Some(2.0 / 3.0));
        assert!(of("accuracy_low").unwrap() < 2.0 / 3.0);
        assert_eq!(
            (of("top_1_accuracy"), of("top_3_accuracy"), of("top_4_accuracy")),
            (of("accuracy"), Some(1.0), None)
        );
        assert_eq!((of("precision[1]"), of("recall[0]"), of("recall[2]")), (Some(0.5), Some(0.5), None));
        assert_eq!((of("macro_recall"), of("weighted_recall")), (Some(0.75), Some(2.0 / 3.0)));
        assert_eq!((of("roc_auc[1]"), of("roc_auc[2]"), of("f1[9]")), (Some(1.0), None, None));
        assert_eq!((of("loss"), of("expected_calibration_error").is_some()), (Some(measures().loss), true));
    }

    #[test]
    fn means_of_rankings_are_over_the_classes_that_have_one() {
        let measures = measures();
        let of = |class: usize| measures.rankings[class].roc_auc.unwrap();
        assert_eq!(measures.macro_means.roc_auc, Some((of(0) + of(1)) / 2.0));
        assert_eq!(measures.weighted_means.roc_auc, Some((2.0 * of(0) + of(1)) / 3.0));
    }

    #[test]
    fn predictions_without_probabilities_are_counted_and_not_ranked() {
        let broken = Measures::of(&Predictions::new(2, vec![f64::NAN, 0.0, 0.0, 1.0], vec![0, 1]), 2, 15);
        assert_eq!((broken.accuracy(), broken.loss.is_nan()), (1.0, true));
        assert_eq!((broken.calibration, broken.macro_means.roc_auc), (None, None));
    }
}
