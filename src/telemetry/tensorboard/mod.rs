//! Runs as event files of TensorBoard, written while they train: scalars of batches and epochs, histograms of
//! the weights and images of kernels after every epoch. `writer` observes the engine, `run_folder` writes the
//! events of one run, `format` is the file format.

mod format;
mod run_folder;
#[cfg(test)]
mod tests;
mod weights;
mod writer;

pub use run_folder::RunFolder;
pub use writer::TensorBoard;
