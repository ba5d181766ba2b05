//! A response that takes its time: a stream, or one that is too large to be handed to the connection at once. A task
//! watches it, because the connection asks for nothing while the caller reads nothing: it ends the call at its deadline,
//! at the end of the drain time, and when the caller reads no more.

use std::{
    mem,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http_body::Frame;
use tokio::{
    task::AbortHandle,
    time::{Instant, sleep_until},
};
use tonic::Status;

use super::{
    context::CallContext,
    interruption::interruption,
    source::ResponseSource,
    unread::{PIECE, UnreadBudget, UnreadBytes},
};
use crate::server::{
    lifecycle::{Phase, Shutdown},
    status,
};

/// How long a caller may read nothing of a response that is counted.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a caller may read nothing while the server drains.
const DRAIN_PATIENCE: Duration = Duration::from_secs(1);

/// The limits that hold for all responses of a server.
#[derive(Debug, Clone)]
pub struct ResponseLimits {
    pub shutdown: Shutdown,
    pub budget: UnreadBudget,
}

/// The response and the task that watches it.
pub struct WatchedBody {
    state: Arc<Mutex<WatchedState>>,
    watchdog: AbortHandle,
}

/// The state that the connection and the task share.
struct WatchedState {
    /// `None` once the call was ended from outside.
    source: Option<ResponseSource>,
    budget: UnreadBudget,
    /// A frame that was taken from the source and not sent.
    ahead: Option<Frame<Bytes>>,
    /// What is left of a large frame.
    rest: Bytes,
    counted: Option<UnreadBytes>,
    /// Since when the connection has a frame that the caller does not take. `None` while the caller waits for the
    /// source.
    unread_since: Option<Instant>,
    waker: Option<Waker>,
}

impl WatchedBody {
    /// Watches the rest of a response, of which `ahead` is the next frame if it was taken already.
    pub fn start(source: ResponseSource, ahead: Option<Frame<Bytes>>, limits: &ResponseLimits) -> Self {
        let context = source.context().clone();
        let state = WatchedState {
            source: Some(source),
            budget: limits.budget.clone(),
            ahead,
            rest: Bytes::new(),
            counted: None,
            unread_since: Some(Instant::now()),
            waker: None,
        };
        let state = Arc::new(Mutex::new(state));
        let watchdog = tokio::spawn(watch(Arc::downgrade(&state), context, limits.shutdown.clone()));
        Self { state, watchdog: watchdog.abort_handle() }
    }

    /// The next frame for the connection; none after the last.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        lock(&self.state).poll_frame(cx)
    }
}

impl Drop for WatchedBody {
    fn drop(&mut self) {
        self.watchdog.abort();
    }
}

impl WatchedState {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        self.unread_since = None;
        if !self.rest.is_empty() {
            return Poll::Ready(Some(self.piece()));
        }
        let next = match (self.ahead.take(), &mut self.source) {
            (Some(frame), _) => Poll::Ready(Some(frame)),
            (None, Some(source)) => source.poll_frame(cx),
            (None, None) => Poll::Ready(None),
        };
        if next.is_pending() {
            self.waker = Some(cx.waker().clone());
        }
        next.map(|frame| frame.map(|frame| self.send(frame)))
    }

    fn send(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        let frame = match frame.into_data() {
            Ok(data) if data.len() > PIECE => match self.budget.reserve(data.len()) {
                Some(counted) => {
                    (self.rest, self.counted) = (data, Some(counted));
                    return self.piece();
                }
                None => match &mut self.source {
                    Some(source) => source.end_with(&status::unread_responses()),
                    None => return Frame::data(Bytes::new()),
                },
            },
            Ok(data) => {
                self.unread_since = Some(Instant::now());
                return Frame::data(data);
            }
            Err(trailers) => trailers,
        };
        if let Some(source) = &mut self.source {
            source.sent(&frame);
        }
        frame
    }

    /// The next piece of a large frame. It is a copy, because a slice would keep the whole frame in memory.
    fn piece(&mut self) -> Frame<Bytes> {
        let piece = Bytes::copy_from_slice(&self.rest[..self.rest.len().min(PIECE)]);
        self.rest.advance(piece.len());
        if self.rest.is_empty() {
            (self.rest, self.counted) = (Bytes::new(), None);
        }
        self.unread_since = Some(Instant::now());
        Frame::data(piece)
    }

    /// Ends the call and frees its memory, whether or not the caller reads the status.
    fn end_with(&mut self, status: &Status) {
        let Some(mut source) = mem::take(&mut self.source) else { return };
        let trailers = source.end_with(status);
        source.sent(&trailers);
        self.ahead = Some(trailers);
        (self.rest, self.counted) = (Bytes::new(), None);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Ends a response when it must end or is not read.
async fn watch(state: Weak<Mutex<WatchedState>>, context: CallContext, shutdown: Shutdown) {
    let status = tokio::select! {
        status = interruption(&context, &shutdown) => status,
        status = stalled(&state, &shutdown) => status,
    };
    if let Some(state) = state.upgrade() {
        lock(&state).end_with(&status);
    }
}

/// Waits until the caller has read nothing for too long, and returns the status of the call.
async fn stalled(state: &Weak<Mutex<WatchedState>>, shutdown: &Shutdown) -> Status {
    let mut draining = pin!(shutdown.reached(Phase::Draining));
    let mut drains = false;
    loop {
        let Some(alive) = state.upgrade() else { return std::future::pending().await };
        let (unread_since, is_counted) = {
            let state = lock(&alive);
            (state.unread_since, state.counted.is_some())
        };
        drop(alive);
        let patience = if drains { DRAIN_PATIENCE } else { PATIENCE };
        let now = Instant::now();
        let end = unread_since.unwrap_or(now) + patience;
        if end <= now && drains {
            return status::draining();
        }
        if end <= now && is_counted {
            return status::late(format!("nothing of the response was read for {patience:?}"));
        }
        tokio::select! {
            () = sleep_until(if end > now { end } else { now + patience }) => {}
            () = &mut draining, if !drains => drains = true,
        }
    }
}

fn lock(state: &Mutex<WatchedState>) -> MutexGuard<'_, WatchedState> {
    // A panic of the source is caught in it.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
