//! The range of an axis, its ticks and their labels.

use std::ops::Range;

use super::{
    chart::Scale,
    curve::{Curve, CurveKind},
};

/// The share of training values that may lie outside a panel at either end: the first batches of a run
/// would compress all others.
const OUTLIERS: f64 = 0.05;

/// With fewer training values, all of them are shown.
const MIN_FOR_OUTLIERS: usize = 20;

/// The approximate number of ticks of an axis.
const TICKS: f64 = 6.0;

/// The space above the largest and below the smallest value, as a share of the distance between them.
const MARGIN: f64 = 0.05;

/// The largest absolute value that is shown: beyond it, the distance of two values may not be finite.
const MAX_MAGNITUDE: f64 = 1e300;

/// If all values are equal, the space above and below them: a share of their size, and at least so much.
const EQUAL_MARGIN: f64 = 0.1;
const MIN_EQUAL_MARGIN: f64 = 1e-3;

/// The tolerance, in steps, within which a tick at an end of the range counts as inside it despite rounding.
const ROUNDING: f64 = 1e-9;

/// An axis. On a logarithmic one all numbers here are log₁₀ of the values.
#[derive(Debug, Clone)]
pub struct Axis {
    pub range: Range<f64>,
    pub ticks: Vec<f64>,
    scale: Scale,
    /// Decimals of its labels.
    decimals: usize,
}

impl Axis {
    /// The horizontal axis of all these curves: from 0 to the last point. From two epochs or steps on
    /// it counts whole ones.
    pub fn across<'a>(curves: impl Iterator<Item = &'a Curve>) -> Self {
        let ends = curves.filter_map(|curve| curve.points.last()).map(|point| point.0);
        let end = ends.fold(0.0, f64::max);
        let end = if end > 0.0 { end } else { 1.0 };
        let min_step = if end >= 2.0 { 1.0 } else { 0.0 };
        Self::stepped(0.0..end, Scale::Linear, step(end).max(min_step))
    }

    /// The vertical axis of a panel; none where no curve has a value that can be shown.
    pub fn along(curves: &[Curve], scale: Scale) -> Option<Self> {
        let values = |selects: fn(CurveKind) -> bool| {
            let curves = curves.iter().filter(move |curve| selects(curve.kind));
            let values = curves.flat_map(|curve| &curve.points).map(move |point| position(point.1, scale));
            let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let train = values(|kind| kind == CurveKind::Train);
        let validation = values(|kind| kind == CurveKind::Validation);
        let outliers = match scale {
            Scale::Linear | Scale::Percent if train.len() >= MIN_FOR_OUTLIERS => {
                (train.len() as f64 * OUTLIERS) as usize
            }
            Scale::Linear | Scale::Percent | Scale::Logarithmic => 0,
        };
        let ends = [
            train.get(outliers),
            train.get(train.len().wrapping_sub(outliers + 1)),
            validation.first(),
            validation.last(),
        ];
        let ends: Vec<f64> = ends.into_iter().flatten().copied().collect();
        let low = ends.iter().copied().reduce(f64::min)?;
        let high = ends.iter().copied().reduce(f64::max)?;
        Some(Self::over(padded(low, high, scale), scale))
    }

    fn over(range: Range<f64>, scale: Scale) -> Self {
        if scale == Scale::Logarithmic {
            let ticks = decades(&range).unwrap_or_else(|| within_a_decade(&range));
            return Self { range, ticks, scale, decimals: 0 };
        }
        let step = step(range.end - range.start);
        Self::stepped(range, scale, step)
    }

    fn stepped(range: Range<f64>, scale: Scale, step: f64) -> Self {
        let first = (range.start / step - ROUNDING).ceil() as i64;
        let last = (range.end / step + ROUNDING).floor() as i64;
        let ticks = (first..=last).map(|count| count as f64 * step).collect();
        let shown = if scale == Scale::Percent { step * 100.0 } else { step };
        Self { range, ticks, scale, decimals: (-shown.log10().floor()).clamp(0.0, 9.0) as usize }
    }

    /// The label of a tick.
    pub fn label(&self, tick: f64) -> String {
        match self.scale {
            Scale::Linear if tick.abs() >= 1e6 => format!("{tick:e}"),
            Scale::Linear => format!("{:.*}", self.decimals, tick + 0.0),
            Scale::Percent => format!("{:.*}", self.decimals, tick * 100.0),
            Scale::Logarithmic => short(10_f64.powf(tick)),
        }
    }

    /// The position of a value on this axis; not finite where it cannot be shown.
    pub fn position(&self, value: f64) -> f64 {
        position(value, self.scale)
    }
}

fn position(value: f64, scale: Scale) -> f64 {
    match scale {
        _ if value.abs() > MAX_MAGNITUDE => f64::NAN,
        Scale::Linear | Scale::Percent => value,
        Scale::Logarithmic if value > 0.0 => value.log10(),
        Scale::Logarithmic => f64::NAN,
    }
}

fn padded(low: f64, high: f64, scale: Scale) -> Range<f64> {
    let margin = match high - low {
        span if span > 0.0 => span * MARGIN,
        // All values are equal: they lie in the middle.
        _ => (low.abs() * EQUAL_MARGIN).max(MIN_EQUAL_MARGIN),
    };
    match scale {
        Scale::Logarithmic => low - margin..high + margin,
        // A loss and a share are never below 0, so the panel does not go below it.
        Scale::Linear if low >= 0.0 => (low - margin).max(0.0)..high + margin,
        Scale::Linear => low - margin..high + margin,
        Scale::Percent => (low - margin).max(0.0)..(high + margin).min(1.0).max(low + margin),
    }
}

/// Returns the distance between ticks: 1, 2 or 5 times a power of ten that gives about `TICKS` ticks.
fn step(span: f64) -> f64 {
    let rough = span / TICKS;
    let power = 10_f64.powf(rough.log10().floor());
    match rough / power {
        share if share < 1.5 => power,
        share if share < 3.5 => 2.0 * power,
        share if share < 7.5 => 5.0 * power,
        _ => 10.0 * power,
    }
}

/// Returns the ticks of a logarithmic axis at 1, 2 and 5 times the powers of ten, or at the powers alone; `None`
/// if these are too few.
fn decades(range: &Range<f64>) -> Option<Vec<f64>> {
    let decades = range.end - range.start;
    let each = (decades / (2.0 * TICKS)).ceil().max(1.0) as i32;
    let parts: &[f64] = match decades {
        span if span <= 3.5 => &[1.0, 2.0, 5.0],
        _ => &[1.0],
    };
    let powers = (range.start.floor() as i32..=range.end.ceil() as i32).filter(|power| power % each == 0);
    let ticks = powers.flat_map(|power| parts.iter().map(move |part| f64::from(power) + part.log10()));
    let ticks: Vec<f64> = ticks.filter(|tick| range.contains(tick)).collect();
    (ticks.len() >= 3).then_some(ticks)
}

/// Ticks of a short logarithmic axis at round values of equal distance.
fn within_a_decade(range: &Range<f64>) -> Vec<f64> {
    let (low, high) = (10_f64.powf(range.start), 10_f64.powf(range.end));
    let step = step(high - low);
    let counts = (low / step).ceil() as i64..=(high / step).floor() as i64;
    counts.map(|count| (count as f64 * step).log10()).collect()
}

/// The label of a number on a logarithmic axis.
fn short(value: f64) -> String {
    match value {
        value if (1e-3..1e4).contains(&value) => {
            let decimals = (2.0 - value.log10().floor()).clamp(0.0, 6.0) as usize;
            let text = format!("{value:.decimals$}");
            match text.contains('.') {
                true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
                false => text,
            }
        }
        _ => format!("{value:.0e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(kind: CurveKind, values: &[f64]) -> Curve {
        let points = values.iter().enumerate().map(|(x, &y)| (x as f64, y)).collect();
        Curve { run: 0, kind, points }
    }

    fn labels(axis: &Axis) -> Vec<String> {
        axis.ticks.iter().map(|tick| axis.label(*tick)).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        let axis = Axis::across([curve(CurveKind::Train, &[0.0; 6])].iter());
        assert_eq!(labels(&axis), ["0", "1", "2", "3", "4", "5"]);
        let axis = Axis::across([curve(CurveKind::Train, &[0.0; 3])].iter());
        assert_eq!(labels(&axis), ["0", "1", "2"]);
        let axis = Axis::across([curve(CurveKind::Train, &[0.0; 2])].iter());
        assert_eq!(labels(&axis), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        let axis = Axis::along(&[curve(CurveKind::Train, &[0.9, 0.99])], Scale::Percent).unwrap();
        assert_eq!(labels(&axis), ["90", "92", "94", "96", "98"]);
    }

    #[test]
    fn a_logarithmic_axis_has_ticks_at_1_2_and_5() {
        let axis = Axis::along(&[curve(CurveKind::Train, &[0.03, 2.3])], Scale::Logarithmic).unwrap();
        assert_eq!(labels(&axis), ["0.05", "0.1", "0.2", "0.5", "1", "2"]);
        let axis = Axis::along(&[curve(CurveKind::Train, &[0.01, 3.0])], Scale::Logarithmic).unwrap();
        assert_eq!(labels(&axis)[..3], ["0.01", "0.02", "0.05"]);
        let axis = Axis::along(&[curve(CurveKind::Train, &[2.5, 3.0])], Scale::Logarithmic).unwrap();
        assert_eq!(labels(&axis), ["2.5", "2.6", "2.7", "2.8", "2.9", "3"]);
        let axis = Axis::along(&[curve(CurveKind::Train, &[1e-8, 1e8])], Scale::Logarithmic).unwrap();
        assert_eq!(labels(&axis), ["1e-8", "1e-6", "1e-4", "0.01", "1", "100", "1e4", "1e6", "1e8"]);
    }

    #[test]
    fn values_that_cannot_be_shown_do_not_extend_the_axis() {
        let values = [f64::NAN, 0.5, f64::INFINITY, 0.0];
        let axis = Axis::along(&[curve(CurveKind::Train, &values)], Scale::Logarithmic).unwrap();
        assert!(axis.range.contains(&0.5_f64.log10()) && axis.range.end < 0.0, "{:?}", axis.range);
        assert!(Axis::along(&[curve(CurveKind::Train, &[f64::NAN])], Scale::Linear).is_none());
        assert!(Axis::along(&[], Scale::Linear).is_none());
    }

    #[test]
    fn the_first_batches_of_a_long_run_may_exceed_the_panel_and_validation_may_not() {
        let mut losses = vec![0.1; 100];
        losses[0] = 2.5;
        let train = curve(CurveKind::Train, &losses);
        let axis = Axis::along(std::slice::from_ref(&train), Scale::Linear).unwrap();
        assert!(axis.range.end < 0.2, "{:?}", axis.range);
        let axis = Axis::along(&[train, curve(CurveKind::Validation, &[0.7])], Scale::Linear).unwrap();
        assert!(axis.range.end > 0.7, "{:?}", axis.range);
    }

    #[test]
    fn equal_values_still_make_an_axis() {
        for (value, scale) in [(0.0, Scale::Linear), (1.0, Scale::Percent), (0.5, Scale::Logarithmic)] {
            let axis = Axis::along(&[curve(CurveKind::Validation, &[value])], scale).unwrap();
            assert!(axis.range.start < axis.range.end && axis.ticks.len() >= 2, "{axis:?}");
        }
    }
}
