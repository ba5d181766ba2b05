//! The response body of a call. Most responses are a small message, which goes to the connection at once; all others are
//! watched.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tonic::Status;

use super::{
    source::ResponseSource,
    unread::PIECE,
    watched::{ResponseLimits, WatchedBody},
};

/// The body of a response. Dropping it ends the call, whether or not it was read to its end.
pub struct CallBody {
    state: ResponseState,
    limits: ResponseLimits,
}

enum ResponseState {
    /// Nothing was sent.
    Fresh(ResponseSource),
    /// The message was sent, and the trailers are what is left.
    Complete(ResponseSource, Option<Frame<Bytes>>),
    Watched(WatchedBody),
    Ended,
}

impl CallBody {
    pub fn new(source: ResponseSource, limits: ResponseLimits) -> Self {
        Self { state: ResponseState::Fresh(source), limits }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        match std::mem::replace(&mut self.state, ResponseState::Ended) {
            ResponseState::Fresh(source) => self.begin(source, cx),
            ResponseState::Complete(mut source, trailers) => {
                if let Some(trailers) = &trailers {
                    source.sent(trailers);
                }
                Poll::Ready(trailers)
            }
            ResponseState::Watched(mut watched) => {
                let frame = watched.poll_frame(cx);
                self.state = ResponseState::Watched(watched);
                frame
            }
            ResponseState::Ended => Poll::Ready(None),
        }
    }

    /// The first frame, by which the response turns out to be small or not.
    fn begin(&mut self, mut source: ResponseSource, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        let message = match source.poll_frame(cx) {
            Poll::Ready(Some(frame)) if is_small(&frame) => frame,
            Poll::Ready(Some(frame)) if frame.is_trailers() => {
                source.sent(&frame);
                return Poll::Ready(Some(frame));
            }
            Poll::Ready(Some(frame)) => return self.watch(source, Some(frame), cx),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => return self.watch(source, None, cx),
        };
        match source.poll_frame(cx) {
            Poll::Ready(Some(data)) if data.is_data() => {
                self.state = ResponseState::Watched(WatchedBody::start(source, Some(data), &self.limits));
            }
            Poll::Ready(trailers) => {
                source.release();
                self.state = ResponseState::Complete(source, trailers);
            }
            Poll::Pending => {
                self.state = ResponseState::Watched(WatchedBody::start(source, None, &self.limits));
            }
        }
        Poll::Ready(Some(message))
    }

    /// Leaves all that follows to a task that watches it.
    fn watch(
        &mut self,
        source: ResponseSource,
        ahead: Option<Frame<Bytes>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Frame<Bytes>>> {
        let mut watched = WatchedBody::start(source, ahead, &self.limits);
        let frame = watched.poll_frame(cx);
        self.state = ResponseState::Watched(watched);
        frame
    }
}

/// Whether a frame is data that needs no watching.
fn is_small(frame: &Frame<Bytes>) -> bool {
    frame.data_ref().is_some_and(|data| data.len() <= PIECE)
}

impl http_body::Body for CallBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.poll(cx).map(|frame| frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            ResponseState::Fresh(source) => source.is_end_stream(),
            ResponseState::Complete(_, trailers) => trailers.is_none(),
            ResponseState::Watched(_) => false,
            ResponseState::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        // A status may end the body early, so its size is not known.
        SizeHint::default()
    }
}
