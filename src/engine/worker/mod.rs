//! The threads that own networks and what they stand on. Together with `jobs` the only part of
//! the engine that touches tensors.

mod arrays;
mod device;
mod model;
#[cfg(test)]
pub(super) mod testing;
mod thread;

pub(super) use arrays::arrays;
pub use device::DeviceChoice;
pub(super) use model::{Serving, decode, start};
pub(super) use tch::Device;
pub use thread::panic_message;
pub(super) use thread::{JobThread, LIBTORCH_VERSION, Priority, Setup, cores};
