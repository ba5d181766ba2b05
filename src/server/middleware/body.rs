//! The response body of a call: a panic, a passed deadline or the end of the drain time becomes a status in the
//! trailers, and the end of the body ends the call.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio_util::task::task_tracker::TaskTrackerToken;
use tonic::{Code, Status, body::Body};

use super::{context::CallContext, interruption::interruption, rewrite_status};
use crate::server::{lifecycle::Shutdown, status};

/// The body of a response. Dropping it ends the call, whether or not it was read to its end.
pub struct CallBody {
    /// `None` once the response has ended, so that its producer is dropped at once.
    inner: Option<Body>,
    context: CallContext,
    shutdown: Shutdown,
    /// Created when the body is first pending, so that most responses never create it.
    interruption: Option<Pin<Box<dyn Future<Output = Status> + Send>>>,
    code: Option<Code>,
    _held: Option<TaskTrackerToken>,
}

impl CallBody {
    pub fn new(
        inner: Body,
        headers: &HeaderMap,
        context: CallContext,
        shutdown: Shutdown,
        held: Option<TaskTrackerToken>,
    ) -> Self {
        let code = rewrite_status::status_code(headers);
        Self { inner: Some(inner), context, shutdown, interruption: None, code, _held: held }
    }

    fn end_with(&mut self, status: &Status) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.inner = None;
        self.code = Some(status.code());
        Poll::Ready(Some(Ok(Frame::trailers(rewrite_status::trailers(status)))))
    }

    fn frame(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match frame.into_trailers() {
            Ok(mut trailers) => {
                rewrite_status::rewrite_status(&mut trailers);
                self.code = rewrite_status::status_code(&trailers);
                Frame::trailers(trailers)
            }
            Err(data) => data,
        }
    }

    fn poll_interruption(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        let interruption = self.interruption.get_or_insert_with(|| {
            let (context, shutdown) = (self.context.clone(), self.shutdown.clone());
            Box::pin(async move { interruption(&context, &shutdown).await })
        });
        interruption.as_mut().poll(cx)
    }
}

impl http_body::Body for CallBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let span = this.context.span().clone();
        let _inside = span.enter();
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        match catch_unwind(AssertUnwindSafe(|| Pin::new(inner).poll_frame(cx))) {
            Err(panic) => this.end_with(&status::panicked(&*panic)),
            Ok(Poll::Ready(Some(Ok(frame)))) => {
                let frame = this.frame(frame);
                Poll::Ready(Some(Ok(frame)))
            }
            Ok(Poll::Ready(Some(Err(status)))) => this.end_with(&status),
            Ok(Poll::Ready(None)) => {
                this.inner = None;
                Poll::Ready(None)
            }
            Ok(Poll::Pending) => match this.poll_interruption(cx) {
                Poll::Ready(status) => this.end_with(&status),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        // A status may end the body early, so its size is not known.
        SizeHint::default()
    }
}

impl Drop for CallBody {
    fn drop(&mut self) {
        // Without a code the body was not read to its end: the caller disconnected.
        self.context.ended(self.code.unwrap_or(Code::Cancelled));
    }
}
