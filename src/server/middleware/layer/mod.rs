//! The layer itself: a tower service that wraps the services of the server, and the order in which a call
//! passes through them.

use std::{
    convert::Infallible,
    mem,
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll},
};

use futures::FutureExt;
use http::{HeaderValue, Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};
use tracing::Instrument;

use super::{
    body::CallBody,
    context::{CallContext, REQUEST_ID},
    interruption::unless_interrupted,
    rewrite_status,
};
use crate::server::{
    lifecycle::{Phase, Shutdown},
    listener::ConnectionInfo,
    metrics::CallMetrics,
    status,
};

/// Wraps the services of a server in `CallService`.
#[derive(Debug, Clone)]
pub struct CallLayer {
    shutdown: Shutdown,
    metrics: CallMetrics,
}

impl CallLayer {
    pub fn new(shutdown: Shutdown, metrics: CallMetrics) -> Self {
        Self { shutdown, metrics }
    }
}

impl<S> Layer<S> for CallLayer {
    type Service = CallService<S>;

    fn layer(&self, inner: S) -> CallService<S> {
        CallService { inner, shutdown: self.shutdown.clone(), metrics: self.metrics.clone() }
    }
}

/// The wrapped services.
#[derive(Debug, Clone)]
pub struct CallService<S> {
    inner: S,
    shutdown: Shutdown,
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
        if let Some(connection) = request.extensions().get::<ConnectionInfo>() {
            connection.note_request();
        }
        let context = CallContext::of(&request, self.metrics.started(request.uri().path()));
        let response = respond(inner, self.shutdown.clone(), context.clone(), request);
        Box::pin(response.instrument(context.span().clone()).map(Ok))
    }
}

async fn respond<S>(
    mut inner: S,
    shutdown: Shutdown,
    context: CallContext,
    mut request: Request<Body>,
) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let exempt = is_exempt_from_drain(context.method());
    let held = (!exempt).then(|| shutdown.track_call());
    let response = if shutdown.phase() >= Phase::Draining && !exempt {
        status::draining().into_http()
    } else {
        request.extensions_mut().insert(context.clone());
        let work = AssertUnwindSafe(async move {
            let Ok(response) = inner.call(request).await;
            response
        });
        match unless_interrupted(&context, &shutdown, work.catch_unwind()).await {
            Ok(Ok(mut response)) => {
                rewrite_status::rewrite_status(response.headers_mut());
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
    let body = CallBody::new(body, &parts.headers, context, shutdown, held);
    Response::from_parts(parts, Body::new(body))
}

/// Draining neither rejects these calls nor waits for them: a health watch or a reflection stream may stay
/// open for ever.
fn is_exempt_from_drain(method: &str) -> bool {
    const PROBES: [&str; 2] =
        ["/inference.GRPCInferenceService/ServerLive", "/inference.GRPCInferenceService/ServerReady"];
    method.starts_with("/grpc.") || PROBES.contains(&method)
}

#[cfg(test)]
mod tests;
