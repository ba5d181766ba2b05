//! What ends a call before its work does: the caller's deadline, and the end of the drain time.

use std::{future::poll_fn, pin::pin, task::Poll};

use tonic::Status;

use super::context::CallContext;
use crate::server::{
    lifecycle::{Phase, Shutdown},
    status,
};

/// Returns the output of `work`, or the status of the interruption that came first.
pub async fn unless_interrupted<F: Future>(
    context: &CallContext,
    shutdown: &Shutdown,
    work: F,
) -> Result<F::Output, Status> {
    let mut work = pin!(work);
    let mut interruption = pin!(interruption(context, shutdown));
    poll_fn(|cx| {
        if context.is_late() {
            return Poll::Ready(Err(status::deadline()));
        }
        if let Poll::Ready(output) = work.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        // The clock is checked beside the timer: the timer of tonic fires just after this one, and if it
        // wakes the call first, the status would be the CANCELLED of tonic.
        if context.is_late() {
            return Poll::Ready(Err(status::deadline()));
        }
        interruption.as_mut().poll(cx).map(Err)
    })
    .await
}

/// Waits until the call must end, and returns the status that it ends with.
pub async fn interruption(context: &CallContext, shutdown: &Shutdown) -> Status {
    let late = async {
        match context.deadline() {
            Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = late => status::deadline(),
        () = shutdown.reached(Phase::Closing) => status::draining(),
    }
}
