//! Everything that is measured of one classifier on one set of images.

use super::{
    Answers, Averages, Calibration, ConfusionMatrix, Figure, Interval, Ranking, Weighting, calibration,
    ranking, wilson,
};

/// The largest k of which top-k accuracy is told.
pub const MAX_TOP: usize = 5;

/// How good a classifier is on a set of images.
#[derive(Debug, Clone, PartialEq)]
pub struct Measures {
    /// Mean cross-entropy over the images.
    pub loss: f64,
    /// As the tutorial reckons: the means over the batches of their mean losses and accuracies.
    pub batch_mean_loss: f64,
    pub batch_mean_accuracy: f64,
    /// Images of such a batch.
    pub batch_size: usize,
    pub confusion: ConfusionMatrix,
    /// Of the accuracy; none where there are no images.
    pub interval: Option<Interval>,
    /// Top-k accuracy for k from 1 to 5, or to the number of classes.
    pub top: Vec<f64>,
    /// Of each class against the rest.
    pub rankings: Vec<Ranking>,
    pub macro_means: Means,
    /// By the classes' images.
    pub weighted_means: Means,
    /// None where a probability is not finite.
    pub calibration: Option<Calibration>,
}

/// Means over the classes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Means {
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
    /// Over the classes of which it exists.
    pub roc_auc: Option<f64>,
    pub average_precision: Option<f64>,
}

/// A measure that each class has, and that is averaged over them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Score {
    Precision,
    Recall,
    F1,
    RocAuc,
    AveragePrecision,
}

/// Of which classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    Macro,
    Weighted,
    Class(usize),
}

impl Measures {
    /// Of all answers; `batch_size` is what the means of batch means are taken over, `bins` how fine
    /// the reliability table is.
    pub fn of(answers: &Answers, batch_size: usize, bins: usize) -> Self {
        let confusion = answers.confusion();
        let (batch_mean_loss, batch_mean_accuracy) = answers.batch_means(batch_size);
        let rankings = rankings(answers);
        let support: Vec<f64> = confusion.class_reports().iter().map(|it| f64::from(it.support)).collect();
        let alike = vec![1.0; support.len()];
        Self {
            loss: answers.mean_loss(),
            batch_mean_loss,
            batch_mean_accuracy,
            batch_size,
            interval: wilson(confusion.correct(), confusion.total()),
            top: (1..=MAX_TOP.min(answers.classes())).map(|k| answers.top_accuracy(k)).collect(),
            macro_means: Means::of(confusion.averages(Weighting::Macro), &rankings, &alike),
            weighted_means: Means::of(confusion.averages(Weighting::Support), &rankings, &support),
            rankings,
            calibration: calibration(answers, bins),
            confusion,
        }
    }

    /// Share of the images whose answer is their label.
    pub fn accuracy(&self) -> f64 {
        f64::from(self.confusion.correct()) / f64::from(self.confusion.total())
    }

    /// One of the figures; none where it does not exist.
    pub fn figure(&self, figure: Figure) -> Option<f64> {
        match figure {
            Figure::Accuracy => Some(self.accuracy()),
            Figure::AccuracyLow => self.interval.map(|interval| interval.low),
            Figure::Loss => Some(self.loss),
            Figure::CalibrationError => self.calibration.as_ref().map(|it| it.error),
            Figure::Top(k) => self.top.get(k.checked_sub(1)?).copied(),
            Figure::Score(score, Of::Macro) => self.macro_means.score(score),
            Figure::Score(score, Of::Weighted) => self.weighted_means.score(score),
            Figure::Score(score, Of::Class(class)) => self.class_score(score, class),
        }
    }

    fn class_score(&self, score: Score, class: usize) -> Option<f64> {
        if class >= self.confusion.classes() {
            return None;
        }
        let report = self.confusion.class_report(class);
        match score {
            Score::Precision => report.precision,
            Score::Recall => report.recall,
            Score::F1 => report.f1,
            Score::RocAuc => self.rankings[class].roc_auc,
            Score::AveragePrecision => self.rankings[class].average_precision,
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

    fn score(&self, score: Score) -> Option<f64> {
        match score {
            Score::Precision => Some(self.precision),
            Score::Recall => Some(self.recall),
            Score::F1 => Some(self.f1),
            Score::RocAuc => self.roc_auc,
            Score::AveragePrecision => self.average_precision,
        }
    }
}

/// Of each class by its probability, one against the rest.
fn rankings(answers: &Answers) -> Vec<Ranking> {
    let scored = |class| {
        let of = |image| (answers.probability(image, class), answers.label(image) == class);
        (0..answers.len()).map(of).collect()
    };
    (0..answers.classes()).map(|class| ranking(scored(class))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measures() -> Measures {
        // Labels 0, 0, 1; answers 0, 1, 1; class 2 does not occur.
        let logits = vec![3.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 2.0, 0.0];
        Measures::of(&Answers::new(3, logits, vec![0, 0, 1]), 2, 15)
    }

    #[test]
    fn every_figure_is_found_by_its_name() {
        let of = |name: &str| measures().figure(name.parse().unwrap());
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
    fn answers_without_probabilities_are_counted_and_not_ranked() {
        let broken = Measures::of(&Answers::new(2, vec![f64::NAN, 0.0, 0.0, 1.0], vec![0, 1]), 2, 15);
        assert_eq!((broken.accuracy(), broken.loss.is_nan()), (1.0, true));
        assert_eq!((broken.calibration, broken.macro_means.roc_auc), (None, None));
    }
}
