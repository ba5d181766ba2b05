//! digitd trains, inspects, registers and serves handwritten-digit classifiers over gRPC.
//!
//! The crate is a row of rooms; a room may use only rooms to its left:
//!
//! `ids < data < nn < optim < metric < eval < draw < inspect < checkpoint < train < registry < compute <
//! runs, serving, analysis < engine < pb < server, client < report < telemetry < config < cli <
//! main`
//!
//! `client` is a crate of its own, `digitd-client` in clients/rust, so that callers need no libtorch.
//!
//! What always holds (`tests/it/tidy/` checks what a text can show):
//!
//! 1. tonic and prost appear only from `pb` rightward (but for prost in `checkpoint::onnx`, since ONNX is
//!    a file format of protocol buffers); tch only in `data` to `train`, in `compute`, and right of it in
//!    `runs::arrays` and `serving::worker`, which run on the threads that compute; object_store only in
//!    `registry`. Everything left of `registry` is synchronous, prints nothing and opens no socket (but
//!    for `data::fetch`, which downloads).
//! 2. One thread owns a network. A tch tensor is Send but not Sync: serving workers hold deep copies;
//!    nothing trainable is shared.
//! 3. Nothing that computes runs on an async thread. Torch runs on a few long-lived named threads
//!    (libtorch keeps memory per thread).
//! 4. Every queue has a capacity, and a full queue is an error. A slow watcher never slows training: it reads
//!    the log of a run with a cursor of its own.
//! 5. A published version never changes. Aliases move, and remember where they pointed.
//! 6. Checkpoint, seed and data decide the rest of a run: on a CPU, stopping and resuming gives the same
//!    bytes as not stopping. The random numbers of a step are a function of (seed, epoch, step) alone.
//! 7. A panic in a job ends that job. A crash at any instant loses at most the work since the last
//!    checkpoint, and never a published version.
//! 8. Grad mode is set by guards in synchronous code, never held over `.await`.

pub mod analysis;
pub mod checkpoint;
pub mod cli;
pub mod compute;
pub mod config;
pub mod data;
pub mod draw;
pub mod engine;
pub mod eval;
pub mod ids;
pub mod inspect;
pub mod metric;
pub mod nn;
pub mod optim;
pub mod pb;
pub mod registry;
pub mod report;
pub mod runs;
pub mod server;
pub mod serving;
pub mod telemetry;
pub mod train;
