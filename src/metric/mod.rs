//! Measures of a classifier from its answers, how they are compared with what is required, and how
//! measurements are written: plain numbers, no tensors. Sums are in float64; what does not exist is
//! none, never 0 or NaN.

mod answers;
mod calibration;
mod confusion;
mod contest;
pub(crate) mod finite;
mod interval;
mod measures;
mod ranking;
mod requirement;

pub use answers::Answers;
pub use calibration::{Bin, Calibration, calibration, temperature};
pub use confusion::{Averages, ClassReport, ConfusionMatrix, Weighting};
pub use contest::{Changed, Contest, McNemar};
pub use interval::{Interval, wilson};
pub use measures::{MAX_TOP, Means, Measures, Of, Score};
pub use ranking::{Ranking, ranking};
pub use requirement::{Comparison, Figure, Requirement};
