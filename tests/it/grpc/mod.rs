//! The server over a real socket, as its callers meet it.

mod analysis;
mod contract;
mod crash;
mod datasets;
pub mod grpcurl;
mod health;
mod hot_swap;
mod inference;
mod initial;
mod limits;
mod metrics;
mod overload;
mod parity;
mod precision;
mod prediction;
mod queue;
mod registry;
mod regularize;
mod resume;
mod runs;
pub mod server;
mod shutdown;
mod status;
mod training;
mod transfer;
mod triton;
mod watching;
