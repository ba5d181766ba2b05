//! The confidence interval of a share.

/// A 95 % confidence interval of a share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

/// The 97.5 % quantile of the standard normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// Wilson's interval (1927) of `hits` in `total`: (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n).
/// Unlike p ± z √(p(1−p)/n) it stays within 0 and 1 and has a width at p = 1. None where `total` is 0.
pub fn wilson(hits: u32, total: u32) -> Option<Interval> {
    if total == 0 {
        return None;
    }
    let (n, p) = (f64::from(total), f64::from(hits) / f64::from(total));
    let square = Z * Z / n;
    let middle = p + square / 2.0;
    let reach = Z * (p * (1.0 - p) / n + square / (4.0 * n)).sqrt();
    // At the ends the formula gives 0 and 1, but for rounding.
    let low = if hits == 0 { 0.0 } else { (middle - reach) / (1.0 + square) };
    let high = if hits == total { 1.0 } else { (middle + reach) / (1.0 + square) };
    Some(Interval { low, high })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_the_textbook() {
        // Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662; 15 of 148 gives 0.0624 to 0.1605.
        for (hits, total, low, high) in [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)] {
            let found = wilson(hits, total).unwrap();
            assert!((found.low - low).abs() < 5e-5 && (found.high - high).abs() < 5e-5, "{found:?}");
        }
    }

    #[test]
    fn all_and_none_keep_a_width_within_zero_and_one() {
        let (all, none) = (wilson(10, 10).unwrap(), wilson(0, 10).unwrap());
        assert!(all.low > 0.7 && all.low < 0.73 && all.high == 1.0, "{all:?}");
        assert!(none.low == 0.0 && (none.high - (1.0 - all.low)).abs() < 1e-15, "{none:?}");
        assert_eq!(wilson(0, 0), None);
    }
}
