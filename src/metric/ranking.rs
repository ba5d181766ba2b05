//! How well scores separate one class from the rest, whatever the threshold.

/// Measures of the order in which scores rank the images.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Ranking {
    /// The chance that an image of the class scores above one of the rest, ties counting half: the
    /// area under the ROC curve. None where either has no images.
    pub roc_auc: Option<f64>,
    /// Σ (Rₙ − Rₙ₋₁) Pₙ over the distinct scores from the highest on, P and R precision and recall
    /// of the images at or above the score; scikit-learn's. None where the class has no images.
    pub average_precision: Option<f64>,
}

/// Computes the measures of pairs (score, whether the image is of the class). Equal scores count as
/// one threshold, in whatever order they come. All measures are none if a score is NaN.
pub fn ranking(mut scored: Vec<(f64, bool)>) -> Ranking {
    if scored.iter().any(|(score, _)| score.is_nan()) {
        return Ranking::default();
    }
    let positives = scored.iter().filter(|(_, is_it)| *is_it).count() as f64;
    let negatives = scored.len() as f64 - positives;
    scored.sort_unstable_by(|(a, _), (b, _)| b.total_cmp(a));
    let (mut above, mut seen) = (0.0, 0.0);
    let (mut pairs_won, mut precision) = (0.0, 0.0);
    for tied in scored.chunk_by(|(a, _), (b, _)| a == b) {
        let hits = tied.iter().filter(|(_, is_it)| *is_it).count() as f64;
        let misses = tied.len() as f64 - hits;
        pairs_won += misses * (above + hits / 2.0);
        above += hits;
        seen += tied.len() as f64;
        precision += hits * above / seen;
    }
    Ranking {
        roc_auc: (positives > 0.0 && negatives > 0.0).then(|| pairs_won / (positives * negatives)),
        average_precision: (positives > 0.0).then(|| precision / positives),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scores in falling order; `+` of the class, `-` of the rest, `|` between different scores.
    fn of(notation: &str) -> Ranking {
        let groups = notation.split('|').enumerate();
        let scored = groups.flat_map(|(at, tied)| tied.chars().map(move |it| (-(at as f64), it == '+')));
        // Backwards: the order that they come in means nothing.
        let mut scored: Vec<_> = scored.collect();
        scored.reverse();
        ranking(scored)
    }

    #[test]
    fn a_perfect_order_is_one_and_a_reversed_one_is_none_of_the_pairs() {
        assert_eq!(of("+|+|-|-"), Ranking { roc_auc: Some(1.0), average_precision: Some(1.0) });
        let reversed = of("-|-|+|+");
        assert_eq!(reversed.roc_auc, Some(0.0));
        assert_eq!(reversed.average_precision, Some((1.0 / 3.0 + 2.0 / 4.0) / 2.0));
    }

    #[test]
    fn ties_count_half_and_are_one_threshold() {
        assert_eq!(of("+-+-"), Ranking { roc_auc: Some(0.5), average_precision: Some(0.5) });
        // Pairs: the first beats both; the tied one beats the last and ties one.
        assert_eq!(of("+|+-|-").roc_auc, Some(3.5 / 4.0));
        assert_eq!(of("+|+-|-").average_precision, Some((1.0 + 2.0 / 3.0) / 2.0));
    }

    #[test]
    fn zero_and_minus_zero_are_tied() {
        assert_eq!(ranking(vec![(0.0, true), (-0.0, false)]).roc_auc, Some(0.5));
    }

    #[test]
    fn without_images_of_either_side_there_is_nothing_to_distinguish() {
        assert_eq!(of("++"), Ranking { roc_auc: None, average_precision: Some(1.0) });
        assert_eq!(of("--"), Ranking { roc_auc: None, average_precision: None });
        assert_eq!(ranking(Vec::new()), Ranking::default());
        assert_eq!(ranking(vec![(f64::NAN, true), (0.0, false)]), Ranking::default());
    }
}
