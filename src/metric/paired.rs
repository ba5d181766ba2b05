//! Paired comparison of two classifiers on the same images: where they agree, and whether one of them
//! is better than chance explains.

use super::Predictions;

/// The outcomes of two classifiers on the same images.
#[derive(Debug, Clone, PartialEq)]
pub struct PairedComparison {
    pub both_right: u32,
    pub only_first: u32,
    pub only_second: u32,
    pub both_wrong: u32,
    /// The number of images on which the two predictions differ.
    pub changed: u32,
    /// The first of those images, in their order.
    pub listed: Vec<ChangedPrediction>,
}

/// An image on which the predictions of two classifiers differ.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangedPrediction {
    /// The index of the image in the set, counted from 0.
    pub index: usize,
    pub label: usize,
    /// The first classifier's prediction and its probability.
    pub first: (usize, f64),
    pub second: (usize, f64),
}

/// McNemar's test (1947) of the hypothesis that both classifiers are equally often correct. It uses
/// only the discordant images, which one of them classifies correctly and the other does not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct McNemar {
    /// The exact p-value: the probability that a fair coin falls at least as unevenly. 1 if there are
    /// no discordant images.
    pub p_value: f64,
    /// (|b − c| − 1)² / (b + c), 0 where b = c; with one degree of freedom nearly chi-squared
    /// distributed from about 25 such images on. None where there are none.
    pub statistic: Option<f64>,
    /// The p-value of the statistic, 1 degree of freedom.
    pub chi_squared_p_value: Option<f64>,
}

impl PairedComparison {
    /// Compares the predictions and lists at most `max_listed` of the changed ones. Panics if the
    /// two have different numbers of images or different labels.
    pub fn of(first: &Predictions, second: &Predictions, max_listed: usize) -> Self {
        assert_eq!(first.len(), second.len(), "the images are the same");
        let mut comparison = Self {
            both_right: 0,
            only_first: 0,
            only_second: 0,
            both_wrong: 0,
            changed: 0,
            listed: Vec::new(),
        };
        for image in 0..first.len() {
            let label = first.label(image);
            assert_eq!(label, second.label(image), "the images are the same");
            let count = match (first.is_correct(image), second.is_correct(image)) {
                (true, true) => &mut comparison.both_right,
                (true, false) => &mut comparison.only_first,
                (false, true) => &mut comparison.only_second,
                (false, false) => &mut comparison.both_wrong,
            };
            *count += 1;
            if first.predicted(image) == second.predicted(image) {
                continue;
            }
            comparison.changed += 1;
            if comparison.listed.len() < max_listed {
                let of = |predictions: &Predictions| {
                    let class = predictions.predicted(image);
                    (class, predictions.probability(image, class))
                };
                comparison.listed.push(ChangedPrediction {
                    index: image,
                    label,
                    first: of(first),
                    second: of(second),
                });
            }
        }
        comparison
    }

    pub fn total(&self) -> u32 {
        self.both_right + self.only_first + self.only_second + self.both_wrong
    }

    /// Returns the share of images with the same prediction from both, correct or not; NaN if there
    /// are none.
    pub fn agreement(&self) -> f64 {
        let total = f64::from(self.total());
        (total - f64::from(self.changed)) / total
    }

    pub fn mcnemar(&self) -> McNemar {
        let (b, c) = (self.only_first, self.only_second);
        let discordant = b + c;
        let statistic = (discordant > 0).then(|| {
            let gap = (f64::from(b.abs_diff(c)) - 1.0).max(0.0);
            gap * gap / f64::from(discordant)
        });
        McNemar {
            p_value: (2.0 * half_binomial_tail(b.min(c), discordant)).min(1.0),
            statistic,
            chi_squared_p_value: statistic.map(|statistic| libm::erfc((statistic / 2.0).sqrt())),
        }
    }
}

/// P(X ≤ `hits`) of `tosses` of a fair coin, `hits` at most half of them.
fn half_binomial_tail(hits: u32, tosses: u32) -> f64 {
    // P(X = hits) as a product in which factors above and below 1 take turns, so that nothing
    // overflows, and underflows only what is below every float64.
    let (mut term, mut halvings) = (1.0f64, tosses);
    for i in 1..=hits {
        term *= f64::from(tosses - hits + i) / f64::from(i);
        while term > 1.0 && halvings > 0 {
            term /= 2.0;
            halvings -= 1;
        }
    }
    for _ in 0..halvings {
        term /= 2.0;
    }
    let mut sum = 0.0;
    for i in (0..=hits).rev() {
        sum += term;
        if term < sum * f64::EPSILON / 4.0 {
            break;
        }
        term *= f64::from(i) / f64::from(tosses - i + 1);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(only_first: u32, only_second: u32) -> PairedComparison {
        PairedComparison {
            both_right: 10,
            only_first,
            only_second,
            both_wrong: 1,
            changed: 0,
            listed: Vec::new(),
        }
    }

    #[test]
    fn the_exact_test_is_that_of_a_fair_coin() {
        // 2 (1 + 5) / 2^5, and 2 / 2^6.
        assert_eq!(comparison(1, 4).mcnemar().p_value, 0.375);
        assert_eq!(comparison(0, 6).mcnemar().p_value, 0.03125);
        assert_eq!(comparison(4, 1).mcnemar(), comparison(1, 4).mcnemar());
        assert_eq!(comparison(5, 5).mcnemar().p_value, 1.0);
    }

    #[test]
    fn the_statistic_is_corrected_for_continuity() {
        // The textbook's 59 and 6 of Fleiss, Levin and Paik: (53 − 1)² / 65.
        let found = comparison(59, 6).mcnemar();
        assert_eq!(found.statistic, Some(52.0 * 52.0 / 65.0));
        assert!(found.chi_squared_p_value.unwrap() < 1e-9 && found.p_value < 1e-11, "{found:?}");
        assert_eq!(comparison(3, 3).mcnemar().chi_squared_p_value, Some(1.0));
    }

    #[test]
    fn without_a_difference_neither_version_is_favoured() {
        let found = comparison(0, 0).mcnemar();
        assert_eq!(found, McNemar { p_value: 1.0, statistic: None, chi_squared_p_value: None });
    }

    #[test]
    fn many_discordant_pairs_neither_overflow_nor_underflow() {
        // The middle term of 2n tosses is about 1 / √(πn).
        let found = half_binomial_tail(500_000, 1_000_000);
        assert!((found - 0.5 - 0.5 / (std::f64::consts::PI * 500_000.0).sqrt()).abs() < 1e-9, "{found}");
        assert_eq!(half_binomial_tail(0, 2000), 0.0);
    }

    #[test]
    fn the_four_cases_and_the_changed_predictions_are_counted() {
        let of = |predictions: [usize; 5]| {
            let logits = predictions.iter().flat_map(|&it| (0..3).map(move |class| f64::from(class == it)));
            Predictions::new(3, logits.collect(), vec![0, 0, 0, 0, 0])
        };
        let compared = |most| PairedComparison::of(&of([0, 0, 1, 1, 1]), &of([0, 1, 0, 1, 2]), most);
        let found = compared(2);
        let counts = [found.both_right, found.only_first, found.only_second, found.both_wrong];
        assert_eq!((counts, found.changed, found.agreement()), ([1, 1, 1, 2], 3, 0.4));
        let sure = 1f64.exp() / (1f64.exp() + 2.0);
        let listed = |index, first, second| ChangedPrediction {
            index,
            label: 0,
            first: (first, sure),
            second: (second, sure),
        };
        assert_eq!(found.listed, [listed(1, 0, 1), listed(2, 1, 0)]);
        assert_eq!(compared(9).listed.last(), Some(&listed(4, 1, 2)));
    }
}
