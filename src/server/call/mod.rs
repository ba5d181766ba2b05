//! The one layer around every call. It gives the call its id, its deadline and its span, counts it, refuses
//! it while the server drains, and puts right what tonic answers by itself: a passed deadline
//! (CANCELLED), a message that is too large (OUT_OF_RANGE) and a panic (a reset stream).

mod body;
mod context;
mod mend;

use std::{
    convert::Infallible,
    future::poll_fn,
    mem,
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use futures::FutureExt;
use http::{HeaderValue, Request, Response};
use tonic::{Status, body::Body};
use tower::{Layer, Service};
use tracing::Instrument;

use super::{
    metrics::CallMetrics,
    phase::{Life, Phase},
    status,
};
use body::CallBody;
pub use context::CallContext;

/// The header of a call's id, in both directions.
const REQUEST_ID: &str = "x-request-id";

/// Wraps every call of a server.
#[derive(Debug, Clone)]
pub struct CallLayer {
    life: Life,
    metrics: CallMetrics,
}

impl CallLayer {
    pub fn new(life: Life, metrics: CallMetrics) -> Self {
        Self { life, metrics }
    }
}

impl<S> Layer<S> for CallLayer {
    type Service = CallService<S>;

    fn layer(&self, inner: S) -> CallService<S> {
        CallService { inner, life: self.life.clone(), metrics: self.metrics.clone() }
    }
}

/// The services behind the layer.
#[derive(Debug, Clone)]
pub struct CallService<S> {
    inner: S,
    life: Life,
    metrics: CallMetrics,
}

impl<S> Service<Request<Body>> for CallService<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The service that was polled ready takes the call; its clone waits for the next one.
        let next = self.inner.clone();
        let inner = mem::replace(&mut self.inner, next);
        let context = CallContext::of(&request, self.metrics.started(request.uri().path()));
        let answer = answer(inner, self.life.clone(), context.clone(), request);
        Box::pin(answer.instrument(context.span().clone()).map(Ok))
    }
}

async fn answer<S>(
    mut inner: S,
    life: Life,
    context: CallContext,
    mut request: Request<Body>,
) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let standing = is_standing(context.method());
    let held = (!standing).then(|| life.call());
    let response = if life.phase() >= Phase::Draining && !standing {
        status::draining().into_http()
    } else {
        request.extensions_mut().insert(context.clone());
        let work = AssertUnwindSafe(async move {
            let Ok(response) = inner.call(request).await;
            response
        });
        match unless_interrupted(&context, &life, work.catch_unwind()).await {
            Ok(Ok(mut response)) => {
                mend::mend(response.headers_mut());
                response
            }
            Ok(Err(panic)) => status::panicked(&*panic).into_http(),
            Err(interrupted) => interrupted.into_http(),
        }
    };
    let (mut parts, body) = response.into_parts();
    if let Ok(id) = HeaderValue::from_str(context.request_id()) {
        parts.headers.insert(REQUEST_ID, id);
    }
    let body = CallBody::new(body, &parts.headers, context, life, held);
    Response::from_parts(parts, Body::new(body))
}

/// Calls that are answered to the end, and that nobody waits for: watchers of health and readers of the
/// contract may stay for ever.
fn is_standing(method: &str) -> bool {
    const PROBES: [&str; 2] =
        ["/inference.GRPCInferenceService/ServerLive", "/inference.GRPCInferenceService/ServerReady"];
    method.starts_with("/grpc.") || PROBES.contains(&method)
}

/// The work's output, unless the deadline passes or the server closes before it.
async fn unless_interrupted<F: Future>(
    context: &CallContext,
    life: &Life,
    work: F,
) -> Result<F::Output, Status> {
    let mut work = pin!(work);
    let mut interruption = pin!(interruption(context, life));
    poll_fn(|cx| {
        if context.is_late() {
            return Poll::Ready(Err(status::deadline()));
        }
        if let Poll::Ready(output) = work.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        // The clock beside the timer: tonic's own timer ends just after ours, and where it wakes
        // the call first, the answer would be its CANCELLED.
        if context.is_late() {
            return Poll::Ready(Err(status::deadline()));
        }
        interruption.as_mut().poll(cx).map(Err)
    })
    .await
}

/// Comes back with the status of a call that must end now.
async fn interruption(context: &CallContext, life: &Life) -> Status {
    let late = async {
        match context.deadline() {
            Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = late => status::deadline(),
        () = life.reached(Phase::Closing) => status::draining(),
    }
}

#[cfg(test)]
mod tests;
