//! Curves: points with gaps where a value is not finite, smoothing, and the part that fits a panel.

/// The values of one quantity of one run.
#[derive(Debug, Clone)]
pub struct Curve {
    /// Index of the run in the chart.
    pub run: usize,
    pub kind: CurveKind,
    /// Points in ascending order of x.
    pub points: Vec<(f64, f64)>,
}

/// The values that a curve shows, which decide how it is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CurveKind {
    /// Training as reported: a faint line behind the smoothed one.
    Raw,
    /// Training: a solid line.
    Train,
    /// Validation: a dashed line with a dot for every value.
    Validation,
}

/// The exponential moving average of TensorBoard's charts, in [0, 1) from none to strong.
///
/// s ← w·s + (1 − w)·x from s = 0, shown as s / (1 − wⁿ) after n values, so that the first value
/// weighs no more than others (the correction of Adam's moments, Kingma and Ba 2015, section 3).
/// A value that is not finite stands for itself and leaves the average as it is.
pub fn smooth(points: &[(f64, f64)], weight: f64) -> Vec<(f64, f64)> {
    let (mut average, mut share) = (0.0, 1.0);
    let shown = |&(x, value): &(f64, f64)| {
        if !value.is_finite() {
            return (x, value);
        }
        average = weight * average + (1.0 - weight) * value;
        share *= weight;
        (x, average / (1.0 - share))
    };
    points.iter().map(shown).collect()
}

/// The unbroken parts of a curve that lie in a panel of `x` by `y`: cut where a value is not finite,
/// and at the panel's edges.
pub fn visible(points: &[(f64, f64)], y: &std::ops::Range<f64>) -> Vec<Vec<(f64, f64)>> {
    let mut parts: Vec<Vec<(f64, f64)>> = Vec::new();
    for run in points.split(|(_, value)| !value.is_finite()) {
        if let [only] = run
            && y.start <= only.1
            && only.1 <= y.end
        {
            parts.push(vec![*only]);
        }
        let mut open = false;
        for pair in run.windows(2) {
            let Some((from, to)) = clip(pair[0], pair[1], y) else {
                open = false;
                continue;
            };
            match parts.last_mut().filter(|_| open && from == pair[0]) {
                Some(part) => part.push(to),
                None => parts.push(vec![from, to]),
            }
            open = to == pair[1];
        }
    }
    parts
}

/// The part of a straight line that lies between two heights.
fn clip(from: (f64, f64), to: (f64, f64), y: &std::ops::Range<f64>) -> Option<((f64, f64), (f64, f64))> {
    let at = |height: f64| {
        let share = (height - from.1) / (to.1 - from.1);
        (from.0 + share * (to.0 - from.0), height)
    };
    let cut = |end: (f64, f64)| match end.1 {
        value if value < y.start => at(y.start),
        value if value > y.end => at(y.end),
        _ => end,
    };
    let beyond = from.1.max(to.1) < y.start || from.1.min(to.1) > y.end;
    (!beyond).then(|| (cut(from), cut(to)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f64 = f64::NAN;

    fn ys(points: &[(f64, f64)]) -> Vec<f64> {
        points.iter().map(|point| point.1).collect()
    }

    fn row(values: &[f64]) -> Vec<(f64, f64)> {
        values.iter().enumerate().map(|(x, &y)| (x as f64, y)).collect()
    }

    #[test]
    fn smoothing_is_the_debiased_moving_average() {
        // By hand, w = 0.5: s = 2, 3, 1.5 over 1 − w = 0.5, 0.75, 0.875.
        let smoothed = ys(&smooth(&row(&[4.0, 4.0, 0.0]), 0.5));
        for (found, expected) in smoothed.iter().zip([4.0, 4.0, 1.5 / 0.875]) {
            assert!((found - expected).abs() < 1e-12, "{smoothed:?}");
        }
    }

    #[test]
    fn no_smoothing_leaves_the_values_unchanged() {
        assert_eq!(ys(&smooth(&row(&[3.0, 1.0, 2.0]), 0.0)), [3.0, 1.0, 2.0]);
    }

    #[test]
    fn a_value_that_is_not_finite_is_kept_and_does_not_affect_others() {
        let smoothed = ys(&smooth(&row(&[2.0, NAN, f64::INFINITY, 2.0]), 0.9));
        assert!(smoothed[1].is_nan() && smoothed[2].is_infinite());
        assert!((smoothed[3] - 2.0).abs() < 1e-12, "{smoothed:?}");
    }

    #[test]
    fn a_curve_breaks_where_its_value_is_not_finite() {
        let parts = visible(&row(&[1.0, 2.0, NAN, 3.0]), &(0.0..9.0));
        assert_eq!(parts, [vec![(0.0, 1.0), (1.0, 2.0)], vec![(3.0, 3.0)]]);
    }

    #[test]
    fn a_curve_is_clipped_at_the_edge_of_its_panel() {
        let parts = visible(&row(&[4.0, 0.0, 4.0, 4.0]), &(0.0..2.0));
        assert_eq!(parts, [vec![(0.5, 2.0), (1.0, 0.0), (1.5, 2.0)]]);
        let through = visible(&row(&[-1.0, 3.0]), &(0.0..2.0));
        assert_eq!(through, [vec![(0.25, 0.0), (0.75, 2.0)]]);
    }
}
