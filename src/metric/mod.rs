//! Measures of a classifier from its answers, and how measurements are written: plain numbers, no tensors.

pub(crate) mod finite;

/// How often each label got each answer; rows are labels, columns answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfusionMatrix {
    classes: usize,
    counts: Vec<u32>,
}

/// How good a classifier is on one class. TP, FP and FN count images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassReport {
    pub label: usize,
    /// TP / (TP + FP); none where the class was never answered.
    pub precision: Option<f64>,
    /// TP / (TP + FN); none where the class has no images.
    pub recall: Option<f64>,
    /// 2 TP / (2 TP + FP + FN); none where the class was neither answered nor there.
    pub f1: Option<f64>,
    /// Images of the class.
    pub support: u32,
}

impl ConfusionMatrix {
    pub fn new(classes: usize) -> Self {
        Self { classes, counts: vec![0; classes * classes] }
    }

    /// Counts one image. Panics on a label or an answer beyond the classes.
    pub fn add(&mut self, label: usize, answer: usize) {
        assert!(
            label < self.classes && answer < self.classes,
            "labels and answers are below {}",
            self.classes
        );
        self.counts[label * self.classes + answer] += 1;
    }

    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Images with this label, by answer.
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

    fn class_report(&self, label: usize) -> ClassReport {
        let hit = self.row(label)[label];
        let support: u32 = self.row(label).iter().sum();
        let answered: u32 = (0..self.classes).map(|row| self.row(row)[label]).sum();
        let share = |part: u32, whole: u32| (whole > 0).then(|| f64::from(part) / f64::from(whole));
        ClassReport {
            label,
            precision: share(hit, answered),
            recall: share(hit, support),
            f1: share(2 * hit, answered + support),
            support,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(answers: &[(usize, usize)]) -> ConfusionMatrix {
        let mut matrix = ConfusionMatrix::new(3);
        answers.iter().for_each(|&(label, answer)| matrix.add(label, answer));
        matrix
    }

    #[test]
    fn precision_recall_and_f1_are_those_of_the_textbook() {
        // Class 0: 2 hits, 1 missed; class 1: 1 hit, and one answer too many.
        let matrix = matrix(&[(0, 0), (0, 0), (0, 1), (1, 1)]);
        assert_eq!((matrix.correct(), matrix.total()), (3, 4));
        let [zero, one, two] = matrix.class_reports()[..] else { panic!("three classes") };
        assert_eq!((zero.precision, zero.recall, zero.f1), (Some(1.0), Some(2.0 / 3.0), Some(0.8)));
        assert_eq!((one.precision, one.recall, one.f1), (Some(0.5), Some(1.0), Some(2.0 / 3.0)));
        assert_eq!((two.precision, two.recall, two.f1, two.support), (None, None, None, 0));
    }

    #[test]
    fn rows_are_labels_and_columns_answers() {
        assert_eq!(matrix(&[(2, 0), (2, 1), (2, 1)]).row(2), [1, 2, 0]);
    }
}
