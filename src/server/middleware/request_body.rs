//! The request body of a call. It notices that the caller resets the call or loses its connection while the request is
//! sent, which tonic reports to handlers as errors of the server.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tonic::{Status, body::Body};

use super::context::CallContext;

/// The body of a request.
pub struct RequestBody {
    inner: Body,
    context: CallContext,
}

impl RequestBody {
    pub fn new(inner: Body, context: CallContext) -> Self {
        Self { inner, context }
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Err(_))) = frame {
            self.context.lose_request();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
