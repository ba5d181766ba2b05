//! Weights and training state ⇄ bytes: safetensors files of named arrays (`arrays`), of a network
//! (`network`) and of other programs (`import`), and ONNX files (`onnx`). The size and the form of a file
//! are checked before memory is allocated for it. Does not use any store.

mod arrays;
mod digest;
mod error;
mod expected_array;
pub mod import;
mod mapping;
mod network;
pub mod onnx;

pub use arrays::{Arrays, MAX_BYTES};
pub use digest::sha256;
pub use error::Error;
pub use network::{NetworkSpec, decode_network, encode_network};
