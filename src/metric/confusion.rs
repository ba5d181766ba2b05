//! The confusion matrix, and precision, recall and F1 of each class and averaged over the classes.

/// The number of images by label (row) and prediction (column).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfusionMatrix {
    classes: usize,
    counts: Vec<u32>,
}

/// The measures of one class. TP, FP and FN count images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassReport {
    pub label: usize,
    /// TP / (TP + FP); none if the class was never predicted.
    pub precision: Option<f64>,
    /// TP / (TP + FN); none where the class has no images.
    pub recall: Option<f64>,
    /// 2 TP / (2 TP + FP + FN); none if the class was neither predicted nor has images.
    pub f1: Option<f64>,
    /// Images of the class.
    pub support: u32,
}

/// The means of the measures over the classes, as scikit-learn's `precision_recall_fscore_support`
/// with `zero_division=0` computes them: over the classes that have images or were predicted; what is
/// undefined for one of them counts as 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Averages {
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
}

/// The weights of the classes in a mean over them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weighting {
    /// All classes have the same weight.
    Macro,
    /// The weight of a class is its number of images.
    Support,
}

impl ConfusionMatrix {
    pub fn new(classes: usize) -> Self {
        Self { classes, counts: vec![0; classes * classes] }
    }

    /// Counts one image. Panics if the label or the prediction is beyond the classes.
    pub fn add(&mut self, label: usize, prediction: usize) {
        assert!(
            label < self.classes && prediction < self.classes,
            "labels and predictions are below {}",
            self.classes
        );
        self.counts[label * self.classes + prediction] += 1;
    }

    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Returns the images with this label, by prediction.
    pub fn row(&self, label: usize) -> &[u32] {
        &self.counts[label * self.classes..(label + 1) * self.classes]
    }

    pub fn total(&self) -> u32 {
        self.counts.iter().sum()
    }

    pub fn correct(&self) -> u32 {
        (0..self.classes).map(|class| self.row(class)[class]).sum()
    }

    /// One report for each class.
    pub fn class_reports(&self) -> Vec<ClassReport> {
        (0..self.classes).map(|label| self.class_report(label)).collect()
    }

    /// The means over the classes. 0 where nothing was counted.
    pub fn averages(&self, weighting: Weighting) -> Averages {
        let reports: Vec<ClassReport> =
            self.class_reports().into_iter().filter(|report| report.f1.is_some()).collect();
        let weight = |report: &ClassReport| match weighting {
            Weighting::Macro => 1.0,
            Weighting::Support => f64::from(report.support),
        };
        let whole: f64 = reports.iter().map(weight).sum();
        let mean = |measure: fn(&ClassReport) -> Option<f64>| {
            let sum: f64 = reports.iter().map(|it| weight(it) * measure(it).unwrap_or(0.0)).sum();
            if whole > 0.0 { sum / whole } else { 0.0 }
        };
        Averages { precision: mean(|it| it.precision), recall: mean(|it| it.recall), f1: mean(|it| it.f1) }
    }

    pub(super) fn class_report(&self, label: usize) -> ClassReport {
        let hit = self.row(label)[label];
        let support: u32 = self.row(label).iter().sum();
        let predicted: u32 = (0..self.classes).map(|row| self.row(row)[label]).sum();
        let share = |part: u32, whole: u32| (whole > 0).then(|| f64::from(part) / f64::from(whole));
        ClassReport {
            label,
            precision: share(hit, predicted),
            recall: share(hit, support),
            f1: share(2 * hit, predicted + support),
            support,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(pairs: &[(usize, usize)]) -> ConfusionMatrix {
        let mut matrix = ConfusionMatrix::new(3);
        pairs.iter().for_each(|&(label, prediction)| matrix.add(label, prediction));
        matrix
    }

    #[test]
    fn precision_recall_and_f1_are_those_of_the_textbook() {
        // Class 0: 2 hits, 1 missed; class 1: 1 hit, and one prediction too many.
        let matrix = matrix(&[(0, 0), (0, 0), (0, 1), (1, 1)]);
        assert_eq!((matrix.correct(), matrix.total()), (3, 4));
        let [zero, one, two] = matrix.class_reports()[..] else { panic!("three classes") };
        assert_eq!((zero.precision, zero.recall, zero.f1), (Some(1.0), Some(2.0 / 3.0), Some(0.8)));
        assert_eq!((one.precision, one.recall, one.f1), (Some(0.5), Some(1.0), Some(2.0 / 3.0)));
        assert_eq!((two.precision, two.recall, two.f1, two.support), (None, None, None, 0));
    }

    #[test]
    fn rows_are_labels_and_columns_are_predictions() {
        assert_eq!(matrix(&[(2, 0), (2, 1), (2, 1)]).row(2), [1, 2, 0]);
    }

    #[test]
    fn averages_are_over_the_classes_that_occur() {
        // Precisions 1 and 1/2, recalls 2/3 and 1, F1 0.8 and 2/3; class 2 does not occur.
        let matrix = matrix(&[(0, 0), (0, 0), (0, 1), (1, 1)]);
        let plain = matrix.averages(Weighting::Macro);
        assert_eq!((plain.precision, plain.recall), (0.75, (2.0 / 3.0 + 1.0) / 2.0));
        let weighted = matrix.averages(Weighting::Support);
        assert_eq!((weighted.precision, weighted.recall), ((3.0 + 0.5) / 4.0, 0.75));
        assert!((weighted.f1 - (3.0 * 0.8 + 2.0 / 3.0) / 4.0).abs() < 1e-15);
    }

    #[test]
    fn a_class_that_was_never_predicted_correctly_counts_as_zero_in_the_averages() {
        let averages = matrix(&[(0, 0), (1, 0)]).averages(Weighting::Macro);
        assert_eq!((averages.precision, averages.recall), (0.25, 0.5));
        let nothing = ConfusionMatrix::new(3).averages(Weighting::Support);
        assert_eq!((nothing.precision, nothing.recall, nothing.f1), (0.0, 0.0, 0.0));
    }
}
