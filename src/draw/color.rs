//! Colour maps: a diverging one for signed values, a sequential one for magnitudes, greys for ink.

use plotters::style::RGBColor;

/// The color of a value that is infinite or no number.
pub const BROKEN: RGBColor = RGBColor(214, 0, 214);

pub const PAPER: RGBColor = RGBColor(255, 255, 255);

/// Below 0, and above: Okabe and Ito's blue and vermilion (2008, "Color Universal Design"), darkened,
/// which people of every color vision can distinguish.
const BELOW: RGBColor = RGBColor(0, 84, 148);
const ABOVE: RGBColor = RGBColor(198, 74, 0);

/// Nine colours of viridis (Smith and van der Walt 2015), equally far apart.
const VIRIDIS: [RGBColor; 9] = [
    RGBColor(68, 1, 84),
    RGBColor(71, 44, 122),
    RGBColor(59, 81, 139),
    RGBColor(44, 113, 142),
    RGBColor(33, 144, 141),
    RGBColor(39, 173, 129),
    RGBColor(92, 200, 99),
    RGBColor(170, 220, 50),
    RGBColor(253, 231, 37),
];

/// The exponent of an overlay's opacity: below 1, so that small values are visible.
const OVERLAY_GAMMA: f64 = 0.75;

/// The opacity of an overlay at the ends of the range: below 1, so that the ink below it is visible.
const OVERLAY_OPACITY: f64 = 0.9;

/// The grey of full ink, light enough that colours over it are visible.
const INK: RGBColor = RGBColor(90, 90, 90);

/// A colour map and the range of values that it covers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ColorMap {
    /// White at 0, deep at −bound (blue) and +bound (orange).
    Diverging { bound: f64 },
    /// Dark at `low`, bright at `high`.
    Sequential { low: f64, high: f64 },
}

impl ColorMap {
    /// Chooses the map for these values: a diverging one if any is below 0.
    pub fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let finite = || values.clone().filter(|value| value.is_finite());
        let high = finite().fold(0.0, f64::max);
        let low = finite().fold(f64::INFINITY, f64::min);
        match low < 0.0 {
            true => Self::Diverging { bound: high.max(-low) },
            false => Self::Sequential { low: 0.0, high },
        }
    }

    pub fn color(self, value: f64) -> RGBColor {
        if !value.is_finite() {
            return BROKEN;
        }
        match self {
            Self::Diverging { .. } => {
                let position = self.position(value) * 2.0 - 1.0;
                mix(PAPER, if position < 0.0 { BELOW } else { ABOVE }, position.abs())
            }
            Self::Sequential { .. } => {
                let position = self.position(value) * (VIRIDIS.len() - 1) as f64;
                let first = (position as usize).min(VIRIDIS.len() - 2);
                mix(VIRIDIS[first], VIRIDIS[first + 1], position - first as f64)
            }
        }
    }

    /// The color over a background: transparent at 0, and of `OVERLAY_OPACITY` at the ends of the range.
    pub fn over(self, background: RGBColor, value: f64) -> RGBColor {
        let strength = match self {
            Self::Diverging { .. } => (self.position(value) * 2.0 - 1.0).abs(),
            Self::Sequential { .. } => self.position(value),
        };
        match value.is_finite() {
            true => {
                let opacity = strength.powf(OVERLAY_GAMMA) * OVERLAY_OPACITY;
                mix(background, self.color(value.signum() * self.ends().1), opacity)
            }
            false => BROKEN,
        }
    }

    /// Returns the smallest and the largest value that the map distinguishes.
    pub fn ends(self) -> (f64, f64) {
        match self {
            Self::Diverging { bound } => (-bound, bound),
            Self::Sequential { low, high } => (low, high),
        }
    }

    /// The position of a value in the range, from 0 to 1; if all values are equal, 0.5 in a diverging map and 0 in a
    /// sequential one.
    fn position(self, value: f64) -> f64 {
        let (low, high) = self.ends();
        match (high > low, self) {
            (true, _) => ((value - low) / (high - low)).clamp(0.0, 1.0),
            (false, Self::Diverging { .. }) => 0.5,
            (false, Self::Sequential { .. }) => 0.0,
        }
    }
}

/// Returns the grey of ink from 0 (paper) to 1.
pub fn ink(value: f64) -> RGBColor {
    mix(PAPER, INK, if value.is_finite() { value.clamp(0.0, 1.0) } else { 0.0 })
}

fn mix(from: RGBColor, to: RGBColor, share: f64) -> RGBColor {
    let part = |from: u8, to: u8| (f64::from(from) + (f64::from(to) - f64::from(from)) * share).round() as u8;
    RGBColor(part(from.0, to.0), part(from.1, to.1), part(from.2, to.2))
}
