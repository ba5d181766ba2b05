//! What a pass through a network is for.

use super::StepSeed;

/// Whether a pass belongs to training or to evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Evaluate,
    Train(StepSeed),
}
