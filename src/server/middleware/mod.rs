//! The one layer around every call. It gives the call an id, a deadline and a span, counts it, and rejects it
//! while the server drains. It also replaces the statuses that tonic makes by itself for a passed deadline
//! (CANCELLED), a message above the limit (OUT_OF_RANGE) and a panic (a reset stream).

mod body;
mod completion;
mod context;
mod interruption;
mod layer;
mod request_body;
mod rewrite_status;
mod source;
mod unimplemented;
mod unread;
mod watched;

pub use context::CallContext;
pub use layer::CallLayer;
