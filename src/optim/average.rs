//! The exponential moving average of weights over steps, as a formula; the caller has the weights.

use serde::{Deserialize, Serialize};

/// The average ā ← d·ā + (1 − d)·w after every step, with d = min(decay, (1 + t)/(10 + t)) and t the
/// steps taken: young averages follow quickly, so that the initial weights are soon forgotten
/// (`TensorFlow`'s `ExponentialMovingAverage` with `num_updates`; Polyak and Juditsky 1992).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WeightAveraging {
    /// The decay d, in [0, 1).
    pub decay: f64,
}

impl WeightAveraging {
    /// The default decay, which averages over the last thousand steps.
    pub const DEFAULT_DECAY: f64 = 0.999;

    /// The share of the new weights in the average, 1 − d, at step `t`, counted from 1.
    pub fn share(self, t: u32) -> f64 {
        let t = f64::from(t);
        1.0 - self.decay.min((1.0 + t) / (10.0 + t))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_average_follows_quickly_at_first_and_then_by_its_decay() {
        let share = |decay, t| WeightAveraging { decay }.share(t);
        assert!((share(0.9, 1) - 9.0 / 11.0).abs() < 1e-12);
        assert!((share(0.9, 80) - 9.0 / 90.0).abs() < 1e-12);
        assert!((share(0.9, 81) - 0.1).abs() < 1e-12);
        assert!((share(0.999, u32::MAX) - 0.001).abs() < 1e-12);
        assert_eq!(share(0.0, 1), 1.0);
    }
}
