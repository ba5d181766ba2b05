//! Summary statistics: mean, standard deviation, shares of zeros and of values that are not finite,
//! histogram.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::tensors::values;

/// Statistics of a set of numbers; `std` is the standard deviation of the population.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    #[serde(with = "crate::metric::finite")]
    pub mean: f64,
    #[serde(with = "crate::metric::finite")]
    pub std: f64,
    #[serde(with = "crate::metric::finite")]
    pub min: f64,
    #[serde(with = "crate::metric::finite")]
    pub max: f64,
    /// Share of values that are exactly 0.
    #[serde(with = "crate::metric::finite")]
    pub zero_fraction: f64,
    /// The further statistics; none for a batch of a run, whose event stays small.
    #[serde(skip)]
    pub details: Option<DistributionDetails>,
}

/// Further statistics, which events of a run leave out.
#[derive(Debug, Clone, PartialEq)]
pub struct DistributionDetails {
    pub nan_fraction: f64,
    pub infinite_fraction: f64,
    /// Euclidean.
    pub norm: f64,
    /// The histogram; none if none was requested or no value is finite.
    pub histogram: Option<Histogram>,
}

/// A histogram: the number of finite values in each of equally wide intervals.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// The smallest and the largest finite value: where the first interval begins and the last ends,
    /// the end included.
    pub lower: f64,
    pub upper: f64,
    /// A single one where both ends are the same.
    pub counts: Vec<u32>,
}

impl Statistics {
    /// Computes the statistics of all values of a tensor.
    pub(super) fn of(tensor: &Tensor) -> Self {
        let values = tensor.detach().to_kind(Kind::Double);
        let number = |tensor: Tensor| tensor.double_value(&[]);
        Self {
            mean: number(values.mean(Kind::Double)),
            std: number(values.std(false)),
            min: number(values.min()),
            max: number(values.max()),
            zero_fraction: number(values.eq(0.0).to_kind(Kind::Double).mean(Kind::Double)),
            details: None,
        }
    }

    /// Computes the statistics with the details; 0 `bins` for no histogram.
    pub(super) fn in_full(tensor: &Tensor, bins: usize) -> Self {
        Self { details: Some(DistributionDetails::of(&values(tensor), bins)), ..Self::of(tensor) }
    }
}

impl DistributionDetails {
    fn of(values: &[f64], bins: usize) -> Self {
        let share = |is_it: fn(f64) -> bool| {
            values.iter().filter(|value| is_it(**value)).count() as f64 / values.len().max(1) as f64
        };
        Self {
            nan_fraction: share(f64::is_nan),
            infinite_fraction: share(f64::is_infinite),
            norm: values.iter().map(|value| value * value).sum::<f64>().sqrt(),
            histogram: Histogram::of(values, bins),
        }
    }
}

impl Histogram {
    /// Builds the histogram of the finite values; none if there are none, or for 0 `bins`.
    pub fn of(values: &[f64], bins: usize) -> Option<Self> {
        let finite = || values.iter().copied().filter(|value| value.is_finite());
        let (lower, upper) = (finite().reduce(f64::min)?, finite().reduce(f64::max)?);
        if bins == 0 {
            return None;
        }
        let width = upper - lower;
        // Equal ends, and ends so far apart that not even their distance is a number.
        if !(width > 0.0 && width.is_finite()) {
            return Some(Self { lower, upper, counts: vec![finite().count() as u32] });
        }
        let mut counts = vec![0; bins];
        for value in finite() {
            let bin = ((value - lower) / width * bins as f64) as usize;
            counts[bin.min(bins - 1)] += 1;
        }
        Some(Self { lower, upper, counts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_value_is_in_one_interval_and_the_largest_in_the_last() {
        let values = [0.0, 0.1, 0.5, 0.99, 1.0, f64::NAN, f64::INFINITY];
        let histogram = Histogram::of(&values, 4).unwrap();
        assert_eq!((histogram.lower, histogram.upper), (0.0, 1.0));
        assert_eq!(histogram.counts, [2, 0, 1, 2]);
        assert_eq!(Histogram::of(&[3.0; 5], 4).unwrap().counts, [5]);
        assert_eq!(Histogram::of(&[-1e308, 1e308], 4).unwrap().counts, [2]);
        assert_eq!(Histogram::of(&[f64::NAN], 4), None);
        assert_eq!(Histogram::of(&values, 0), None);
    }

    #[test]
    fn values_that_are_not_finite_are_counted_apart() {
        let tensor = Tensor::from_slice(&[3.0, f64::NAN, f64::NEG_INFINITY, 0.0]);
        let details = Statistics::in_full(&tensor, 2).details.unwrap();
        assert_eq!((details.nan_fraction, details.infinite_fraction), (0.25, 0.25));
        assert_eq!(details.histogram.unwrap().counts, [1, 1]);
        let finite = Statistics::in_full(&Tensor::from_slice(&[3.0f32, -4.0]), 0);
        assert_eq!(finite.details.unwrap().norm, 5.0);
        assert_eq!((finite.mean, finite.std), (-0.5, 3.5));
    }
}
