//! The predictions of a classifier over a set of images: logits and labels, and what follows for each
//! image.

use std::cmp::Ordering;

use super::ConfusionMatrix;

/// The logits of n images, and their labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    classes: usize,
    /// [n, classes], row by row.
    logits: Vec<f64>,
    labels: Vec<u8>,
    /// [n]: the largest logit m, and Σ exp(logit − m), which cannot overflow.
    sums: Vec<(f64, f64)>,
}

impl Predictions {
    /// Predictions from logits `[n, classes]`, row by row, and labels `[n]`. Panics if the sizes do
    /// not belong together, or a label is not below `classes`.
    pub fn new(classes: usize, logits: Vec<f64>, labels: Vec<u8>) -> Self {
        assert_eq!(logits.len(), classes * labels.len(), "a row of logits for each label");
        assert!(labels.iter().all(|&label| usize::from(label) < classes), "labels are below {classes}");
        let sums = logits.chunks(classes.max(1)).map(exponentials).collect();
        Self { classes, logits, labels, sums }
    }

    pub fn len(&self) -> usize {
        self.labels.len()
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    pub fn classes(&self) -> usize {
        self.classes
    }

    pub fn label(&self, image: usize) -> usize {
        self.labels[image].into()
    }

    pub fn logits(&self, image: usize) -> &[f64] {
        &self.logits[image * self.classes..(image + 1) * self.classes]
    }

    /// Returns the class of the largest logit, the first of equal ones; a logit that is NaN counts as
    /// largest.
    pub fn predicted(&self, image: usize) -> usize {
        let logits = self.logits(image);
        (1..self.classes).fold(0, |best, class| match order(logits[class], logits[best]) {
            Ordering::Greater => class,
            Ordering::Less | Ordering::Equal => best,
        })
    }

    pub fn is_correct(&self, image: usize) -> bool {
        self.predicted(image) == self.label(image)
    }

    /// Returns how many classes rank before the label: those with a larger logit, and those of equal
    /// ones that come first. 0 if the prediction is correct.
    pub fn rank(&self, image: usize) -> usize {
        let (logits, label) = (self.logits(image), self.label(image));
        let before = |&class: &usize| match order(logits[class], logits[label]) {
            Ordering::Greater => true,
            Ordering::Equal => class < label,
            Ordering::Less => false,
        };
        (0..self.classes).filter(before).count()
    }

    /// `softmax(logits)[class]`.
    pub fn probability(&self, image: usize, class: usize) -> f64 {
        let (largest, sum) = self.sums[image];
        (self.logits(image)[class] - largest).exp() / sum
    }

    pub fn probabilities(&self, image: usize) -> Vec<f64> {
        (0..self.classes).map(|class| self.probability(image, class)).collect()
    }

    /// Cross-entropy: `−ln softmax(logits)[label]`.
    pub fn loss(&self, image: usize) -> f64 {
        let (largest, sum) = self.sums[image];
        sum.ln() + (largest - self.logits(image)[self.label(image)])
    }

    /// Whether every image has probabilities: an image with a logit that is NaN or infinite has none.
    pub fn has_probabilities(&self) -> bool {
        self.sums.iter().all(|(largest, sum)| largest.is_finite() && sum.is_finite())
    }

    /// The mean loss over all images; NaN where there are none.
    pub fn mean_loss(&self) -> f64 {
        mean(0..self.len(), |image| self.loss(image))
    }

    /// Returns the means, over batches of `batch` images in order, of the batches' mean losses and
    /// accuracies: a last batch that is smaller weighs as much as the others, as in the tutorial. NaN
    /// if there are no images.
    pub fn batch_means(&self, batch: usize) -> (f64, f64) {
        let batches = (0..self.len()).step_by(batch).map(|start| start..self.len().min(start + batch));
        let losses = batches.clone().map(|batch| mean(batch, |image| self.loss(image)));
        let accuracies = batches.clone().map(|batch| mean(batch, |image| f64::from(self.is_correct(image))));
        let count = batches.len() as f64;
        (losses.sum::<f64>() / count, accuracies.sum::<f64>() / count)
    }

    /// Share of the images whose label is among the `k` most probable predictions.
    pub fn top_accuracy(&self, k: usize) -> f64 {
        mean(0..self.len(), |image| f64::from(self.rank(image) < k))
    }

    pub fn confusion(&self) -> ConfusionMatrix {
        let mut confusion = ConfusionMatrix::new(self.classes);
        (0..self.len()).for_each(|image| confusion.add(self.label(image), self.predicted(image)));
        confusion
    }

    /// Returns the misclassified images of the largest loss, at most `most`, the largest loss first;
    /// of equal losses the first image. A loss that is NaN, of a network that overflowed, counts as
    /// largest.
    pub fn misclassified(&self, most: usize) -> Vec<usize> {
        let mut wrong: Vec<usize> = (0..self.len()).filter(|&image| !self.is_correct(image)).collect();
        wrong.sort_by(|&a, &b| order(self.loss(b), self.loss(a)).then(a.cmp(&b)));
        wrong.truncate(most);
        wrong
    }

    /// Returns the predictions with all logits divided by `temperature`.
    pub fn with_temperature(&self, temperature: f64) -> Self {
        let logits = self.logits.iter().map(|logit| logit / temperature).collect();
        Self::new(self.classes, logits, self.labels.clone())
    }
}

fn mean(images: std::ops::Range<usize>, measure: impl Fn(usize) -> f64) -> f64 {
    let count = images.len() as f64;
    images.map(measure).sum::<f64>() / count
}

fn exponentials(logits: &[f64]) -> (f64, f64) {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (largest, logits.iter().map(|logit| (logit - largest).exp()).sum())
}

/// NaN orders above all numbers, as in libtorch's argmax.
fn order(a: f64, b: f64) -> Ordering {
    a.is_nan().cmp(&b.is_nan()).then_with(|| a.partial_cmp(&b).unwrap_or(Ordering::Equal))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn predictions(rows: &[([f64; 3], u8)]) -> Predictions {
        let logits = rows.iter().flat_map(|(logits, _)| *logits).collect();
        Predictions::new(3, logits, rows.iter().map(|(_, label)| *label).collect())
    }

    #[test]
    fn of_equal_logits_the_first_class_is_predicted_and_ranks_first() {
        let tied = predictions(&[([1.0, 1.0, 0.0], 0), ([1.0, 1.0, 0.0], 1), ([2.0, 2.0, 2.0], 2)]);
        assert_eq!([0, 1, 2].map(|image| tied.predicted(image)), [0, 0, 0]);
        assert_eq!([0, 1, 2].map(|image| tied.rank(image)), [0, 1, 2]);
        assert_eq!([1, 2, 3].map(|k| tied.top_accuracy(k)), [1.0 / 3.0, 2.0 / 3.0, 1.0]);
    }

    #[test]
    fn probabilities_and_losses_of_extreme_logits_are_exact() {
        let extreme = predictions(&[([1000.0, 0.0, -1000.0], 2), ([-1e300, 0.0, 0.0], 1)]);
        assert_eq!(extreme.loss(0), 2000.0);
        assert_eq!(extreme.probabilities(1), [0.0, 0.5, 0.5]);
        assert!(extreme.has_probabilities());
    }

    #[test]
    fn a_logit_that_is_no_number_leaves_no_probabilities() {
        let broken = predictions(&[([0.0, f64::NAN, 5.0], 2)]);
        assert_eq!((broken.predicted(0), broken.rank(0)), (1, 1));
        assert!(broken.loss(0).is_nan() && !broken.has_probabilities());
        assert!(!predictions(&[([0.0, f64::INFINITY, 5.0], 2)]).has_probabilities());
    }

    #[test]
    fn a_small_last_batch_weighs_as_much_as_the_others() {
        let ln3 = 3f64.ln();
        let even = [0.0; 3];
        let set = predictions(&[(even, 0), (even, 1), ([0.0, 0.0, 1e3], 2)]);
        let (loss, accuracy) = set.batch_means(2);
        assert_eq!((loss, accuracy), (ln3 / 2.0, (0.5 + 1.0) / 2.0));
        assert!((set.mean_loss() - 2.0 * ln3 / 3.0).abs() < 1e-15);
        assert_eq!(set.batch_means(3), (set.mean_loss(), 2.0 / 3.0));
    }

    #[test]
    fn misclassified_images_are_sorted_by_loss_and_correct_ones_left_out() {
        let rows = [([5.0, 0.0, 0.0], 1), ([9.0, 0.0, 0.0], 0), ([7.0, 0.0, 0.0], 2), ([5.0, 0.0, 0.0], 1)];
        let set = predictions(&rows);
        assert_eq!(set.misclassified(9), [2, 0, 3]);
        assert_eq!(set.misclassified(1), [2]);
        assert!(set.misclassified(0).is_empty());
    }
}
