//! The response of a call as its handler makes it: a panic or an error becomes a status in the trailers, and statuses of
//! tonic become those of the contract.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame};
use tokio_util::task::task_tracker::TaskTrackerToken;
use tonic::{Status, body::Body};

use super::{completion::CallCompletion, context::CallContext, rewrite_status};
use crate::server::status;

/// The frames of a response. Dropping it ends the call.
pub struct ResponseSource {
    /// `None` once the response has ended, so that its producer is dropped at once.
    inner: Option<Body>,
    completion: CallCompletion,
    /// The token that draining waits for.
    held: Option<TaskTrackerToken>,
}

impl ResponseSource {
    pub fn new(
        inner: Body,
        headers: &HeaderMap,
        mut completion: CallCompletion,
        held: Option<TaskTrackerToken>,
    ) -> Self {
        completion.sent(headers);
        Self { inner: Some(inner), completion, held }
    }

    pub fn context(&self) -> &CallContext {
        self.completion.context()
    }

    /// The next frame; none after the last.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        let span = self.context().span().clone();
        let _inside = span.enter();
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        match catch_unwind(AssertUnwindSafe(|| Pin::new(inner).poll_frame(cx))) {
            Err(panic) => Poll::Ready(Some(self.end_with(&status::panicked(&*panic)))),
            Ok(Poll::Ready(Some(Ok(frame)))) => Poll::Ready(Some(rewritten(frame))),
            Ok(Poll::Ready(Some(Err(status)))) => Poll::Ready(Some(self.end_with(&status))),
            Ok(Poll::Ready(None)) => {
                self.inner = None;
                Poll::Ready(None)
            }
            Ok(Poll::Pending) => Poll::Pending,
        }
    }

    /// Ends the response early; the trailers carry the status.
    pub fn end_with(&mut self, status: &Status) -> Frame<Bytes> {
        self.inner = None;
        Frame::trailers(rewrite_status::trailers(status))
    }

    /// Records the status of a frame that is handed to the connection, if it carries one.
    pub fn sent(&mut self, frame: &Frame<Bytes>) {
        if let Some(trailers) = frame.trailers_ref() {
            self.completion.sent(trailers);
        }
    }

    /// Lets draining end without this call, because nothing is left to do but to write the response.
    pub fn release(&mut self) {
        self.held = None;
    }

    pub fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(http_body::Body::is_end_stream)
    }
}

fn rewritten(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            rewrite_status::rewrite_status(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(data) => data,
    }
}
