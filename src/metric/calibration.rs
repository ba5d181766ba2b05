//! Calibration: whether a classifier is as often correct as it is confident, and the temperature that
//! would make it so.

use super::Predictions;

/// The expected calibration error and the reliability table that it is computed from.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// Σ over the bins of (images / all images) · |accuracy − mean confidence| (Naeini et al. 2015,
    /// Guo et al. 2017).
    pub error: f64,
    /// The bins, of equal width from 0 to 1.
    pub bins: Vec<Bin>,
}

/// A bin: the images whose largest probability is above `from` and at most `to`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    pub from: f64,
    pub to: f64,
    pub count: u32,
    /// Mean of the largest probabilities; none where there are no images.
    pub confidence: Option<f64>,
    pub accuracy: Option<f64>,
}

/// Computes the reliability table of `bins` bins of equal width. None if there are no images or no
/// probabilities.
pub fn calibration(predictions: &Predictions, bins: usize) -> Option<Calibration> {
    if predictions.is_empty() || !predictions.has_probabilities() {
        return None;
    }
    let bound = |bin: usize| bin as f64 / bins as f64;
    let inner: Vec<f64> = (1..bins).map(bound).collect();
    let mut sums = vec![(0u32, 0.0, 0u32); bins];
    for image in 0..predictions.len() {
        let predicted = predictions.predicted(image);
        let confidence = predictions.probability(image, predicted);
        let (count, confidences, right) = &mut sums[inner.partition_point(|bound| *bound < confidence)];
        *count += 1;
        *confidences += confidence;
        *right += u32::from(predicted == predictions.label(image));
    }
    let table = sums.iter().enumerate().map(|(at, &(count, confidences, right))| {
        let of_images = |sum: f64| (count > 0).then(|| sum / f64::from(count));
        Bin {
            from: bound(at),
            to: bound(at + 1),
            count,
            confidence: of_images(confidences),
            accuracy: of_images(f64::from(right)),
        }
    });
    let gaps = sums.iter().map(|(_, confidences, right)| (confidences - f64::from(*right)).abs());
    Some(Calibration { error: gaps.sum::<f64>() / predictions.len() as f64, bins: table.collect() })
}

/// The temperature T is looked for between 1/1000 and 1000.
const COLDEST: f64 = 1e-3;
const HOTTEST: f64 = 1e3;

/// More steps than any data needs: each of them halves the range at least, or is Newton's.
const MAX_STEPS: usize = 200;

/// The temperature T for which softmax(logits / T) has the smallest mean cross-entropy (Guo et al.
/// 2017). That is a convex function of 1/T, so there is one minimum at most. None where there is none:
/// every prediction is correct, so that colder is always better, or the logits carry no information, so that
/// hotter is.
pub fn temperature(predictions: &Predictions) -> Option<f64> {
    if predictions.is_empty() || !predictions.has_probabilities() {
        return None;
    }
    let (mut low, mut high) = (1.0 / HOTTEST, 1.0 / COLDEST);
    if slope(predictions, low).0 >= 0.0 || slope(predictions, high).0 <= 0.0 {
        return None;
    }
    let mut at = 1.0;
    for _ in 0..MAX_STEPS {
        let (first, second) = slope(predictions, at);
        match first < 0.0 {
            true => low = at,
            false => high = at,
        }
        let newton = at - first / second;
        // Newton's step can leave the range where the function is nearly straight.
        let next = if newton > low && newton < high { newton } else { f64::midpoint(low, high) };
        let moved = (next - at).abs();
        at = next;
        if first == 0.0 || moved <= 1e-14 * at {
            break;
        }
    }
    Some(1.0 / at)
}

/// First and second derivative of the mean cross-entropy of softmax(b · logits) by b: the mean
/// over the images of E[z] − z(label), and of Var[z], z drawn as the probabilities say.
fn slope(predictions: &Predictions, b: f64) -> (f64, f64) {
    let (mut first, mut second) = (0.0, 0.0);
    for image in 0..predictions.len() {
        let logits = predictions.logits(image);
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (mut whole, mut mean, mut square) = (0.0, 0.0, 0.0);
        for logit in logits.iter().filter(|logit| logit.is_finite()) {
            let z = logit - largest;
            let weight = (b * z).exp();
            whole += weight;
            mean += weight * z;
            square += weight * z * z;
        }
        mean /= whole;
        first += mean - (logits[predictions.label(image)] - largest);
        second += square / whole - mean * mean;
    }
    let count = predictions.len() as f64;
    (first / count, second / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logits whose softmax is these probabilities.
    fn predictions(rows: &[([f64; 2], u8)]) -> Predictions {
        let logits = rows.iter().flat_map(|(p, _)| p.map(f64::ln)).collect();
        Predictions::new(2, logits, rows.iter().map(|(_, label)| *label).collect())
    }

    #[test]
    fn the_error_is_the_mean_gap_between_confidence_and_accuracy() {
        // In (0.5, 0.75]: 0.7 right and 0.6 wrong; in (0.75, 1]: 0.9 right.
        let set = predictions(&[([0.7, 0.3], 0), ([0.6, 0.4], 1), ([0.1, 0.9], 1)]);
        let found = calibration(&set, 4).unwrap();
        let counts: Vec<u32> = found.bins.iter().map(|bin| bin.count).collect();
        assert_eq!(counts, [0, 0, 2, 1]);
        assert_eq!((found.bins[0].confidence, found.bins[2].accuracy), (None, Some(0.5)));
        assert!((found.error - (2.0 * 0.15 + 0.1) / 3.0).abs() < 1e-12, "{}", found.error);
        assert_eq!((found.bins[3].from, found.bins[3].to), (0.75, 1.0));
    }

    #[test]
    fn a_confidence_on_a_border_belongs_to_the_bin_below() {
        let found = calibration(&Predictions::new(2, vec![0.0, 0.0], vec![0]), 2).unwrap();
        assert_eq!((found.bins[0].count, found.bins[1].count), (1, 0));
    }

    #[test]
    fn a_temperature_calibrates_the_confidence() {
        // Sure by 9 to 1 and right in 3 of 4: the best p is 3/4, and ln 9 / T = ln 3.
        let set = predictions(&[([0.9, 0.1], 0), ([0.9, 0.1], 0), ([0.9, 0.1], 0), ([0.9, 0.1], 1)]);
        let found = temperature(&set).unwrap();
        assert!((found - 2.0).abs() < 1e-12, "{found}");
        let after = calibration(&set.with_temperature(found), 15).unwrap();
        assert!(after.error < 1e-12 && calibration(&set, 15).unwrap().error > 0.14, "{after:?}");
    }

    #[test]
    fn there_is_no_temperature_where_the_loss_has_no_minimum() {
        assert_eq!(temperature(&predictions(&[([0.9, 0.1], 0), ([0.2, 0.8], 1)])), None);
        assert_eq!(temperature(&predictions(&[([0.9, 0.1], 1)])), None);
        assert_eq!(temperature(&predictions(&[])), None);
        assert_eq!(temperature(&Predictions::new(2, vec![f64::NAN, 0.0], vec![0])), None);
        assert_eq!(calibration(&predictions(&[]), 15), None);
    }
}
