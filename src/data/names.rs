//! The names of the built-in data sets.

use crate::ids::DatasetName;

/// The name of the real digits.
pub const MNIST: &str = "mnist";

/// The name of the built-in digits.
pub const SYNTHETIC: &str = "synthetic";

/// The name of MNIST as an identifier.
pub(super) fn mnist_name() -> DatasetName {
    MNIST.parse().expect("\"mnist\" is of the form of a name")
}
