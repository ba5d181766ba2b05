//! The arrays that a network expects of a file, and views of the arrays that the file has. Which array
//! becomes which parameter is decided by `mapping`.

use safetensors::tensor::TensorView;

/// A parameter or running statistic, as a file of the given layout must hold it.
#[derive(Debug)]
pub(super) struct ExpectedArray {
    pub name: String,
    pub shape: Vec<i64>,
    /// Whether the file holds the array transposed, as [in, out].
    pub transposed: bool,
}

impl ExpectedArray {
    pub fn shape_in_file(&self) -> Vec<i64> {
        let mut shape = self.shape.clone();
        if self.transposed {
            shape.reverse();
        }
        shape
    }
}

pub(super) fn shape(view: &TensorView<'_>) -> Vec<i64> {
    view.shape().iter().map(|&extent| i64::try_from(extent).unwrap_or(i64::MAX)).collect()
}

/// Shortens a name for a message: a hostile file may hold names of any length.
pub(super) fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}
