//! Every test that needs two rooms or more: one binary, so that libtorch is linked once.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod cli;
mod data;
mod drawing;
mod grpc;
mod learning;
#[path = "../../src/registry/testing/minio.rs"]
mod minio;
mod parity;
mod readme;
mod support;
mod surroundings;
mod tidy;
