//! The answer of a call on its way out: a panic, a passed deadline or the server's end becomes a
//! status in the trailers, and the end of the answer ends the call.

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

use super::{CallContext, interruption, mend};
use crate::server::{phase::Life, status};

/// An answer's body; dropping it ends the call, whether or not it was read to its end.
pub struct CallBody {
    /// None once the answer has ended: whatever made it is dropped at once.
    inner: Option<Body>,
    context: CallContext,
    life: Life,
    /// Armed when the answer is first waited for, so that most answers do without it.
    interruption: Option<Pin<Box<dyn Future<Output = Status> + Send>>>,
    code: Option<Code>,
    _held: Option<TaskTrackerToken>,
}

impl CallBody {
    pub fn new(
        inner: Body,
        headers: &HeaderMap,
        context: CallContext,
        life: Life,
        held: Option<TaskTrackerToken>,
    ) -> Self {
        let code = mend::code(headers);
        Self { inner: Some(inner), context, life, interruption: None, code, _held: held }
    }

    fn end_with(&mut self, status: &Status) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.inner = None;
        self.code = Some(status.code());
        Poll::Ready(Some(Ok(Frame::trailers(mend::trailers(status)))))
    }

    fn frame(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match frame.into_trailers() {
            Ok(mut trailers) => {
                mend::mend(&mut trailers);
                self.code = mend::code(&trailers);
                Frame::trailers(trailers)
            }
            Err(data) => data,
        }
    }

    fn poll_interruption(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        let interruption = self.interruption.get_or_insert_with(|| {
            let (context, life) = (self.context.clone(), self.life.clone());
            Box::pin(async move { interruption(&context, &life).await })
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
        // An answer may be cut short by a status, so its size is never promised.
        SizeHint::default()
    }
}

impl Drop for CallBody {
    fn drop(&mut self) {
        // An answer that nobody read to its end: the caller went away.
        self.context.ended(self.code.unwrap_or(Code::Cancelled));
    }
}
