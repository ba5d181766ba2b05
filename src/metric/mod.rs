//! Measures of a classifier from its predictions, requirements on them, and how measurements are
//! serialised: plain numbers, no tensors. Sums are in float64; a measure that does not exist is none,
//! never 0 or NaN.

mod calibration;
mod confusion;
pub(crate) mod finite;
mod interval;
mod measures;
mod metric_name;
mod paired;
mod predictions;
mod ranking;
mod requirement;

pub use calibration::{Bin, Calibration, calibration, temperature};
pub use confusion::{Averages, ClassReport, ConfusionMatrix, Weighting};
pub use interval::{Interval, wilson};
pub use measures::{Means, Measures};
pub use metric_name::{ClassMetric, ClassScope, MAX_TOP, MetricName};
pub use paired::{ChangedPrediction, McNemar, PairedComparison};
pub use predictions::Predictions;
pub use ranking::{Ranking, ranking};
pub use requirement::{ComparisonOp, Requirement};
