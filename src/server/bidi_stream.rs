//! Streams of requests and responses: a few requests are handled at once, the responses keep the order of the
//! requests, and a stream that draining ends reports so to its caller.

use std::pin::Pin;

use futures::{Stream, StreamExt, stream};
use tonic::{Status, Streaming};

use super::{
    lifecycle::{Phase, Shutdown},
    status,
};

/// The responses of a stream.
pub type ResponseStream<R> = Pin<Box<dyn Stream<Item = Result<R, Status>> + Send>>;

/// Requests of one stream that are handled at once: enough to fill a batch while another is computed, and few
/// enough that their images fit into memory.
const CONCURRENT_REQUESTS: usize = 8;

/// Handles every request until the caller ends the stream or the server drains.
pub fn handle_all<Q, R, F>(
    requests: Streaming<Q>,
    shutdown: Shutdown,
    handle: impl Fn(Q) -> F + Clone + Send + 'static,
) -> ResponseStream<R>
where
    Q: Send + 'static,
    R: Send + 'static,
    F: Future<Output = R> + Send,
{
    let ending = shutdown.clone();
    let draining = async move { ending.reached(Phase::Draining).await };
    let responses = requests.take_until(draining).map(move |request| {
        let handle = handle.clone();
        // A message that cannot be decoded ends the stream, because its request id is not known.
        async move { Ok(handle(request?).await) }
    });
    // Requests that were accepted get their response; after those the caller learns that the server drains.
    let end = stream::once(async move { shutdown.phase() })
        .filter_map(|phase| async move { (phase >= Phase::Draining).then(|| Err(status::draining())) });
    responses.buffered(CONCURRENT_REQUESTS).chain(end).boxed()
}
