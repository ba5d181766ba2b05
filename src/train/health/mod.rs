//! How a run is: what is measured of its steps on the way. Changes nothing of the training.

mod look;

pub(super) use look::Look;

#[cfg(test)]
mod tests;
