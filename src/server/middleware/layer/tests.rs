//! Tests of the layer around services that fail in every way.

use std::{future, time::Duration};

use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use tokio::sync::watch;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tower::{ServiceExt, service_fn};

use super::*;

struct CollectedResponse {
    headers: http::HeaderMap,
    data: Bytes,
    status: Option<Status>,
}

/// What a caller gets from a service behind the layer.
async fn call<F, R>(shutdown: Shutdown, request: Request<Body>, service: F) -> CollectedResponse
where
    F: Fn(Request<Body>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let service = service_fn(move |request| {
        let response = service(request);
        async move { Ok::<_, Infallible>(response.await) }
    });
    let response = CallLayer::new(shutdown, CallMetrics::new(&prometheus::Registry::new()))
        .layer(service)
        .oneshot(request)
        .await
        .unwrap();
    let headers = response.headers().clone();
    let collected = response.into_body().collect().await.unwrap();
    let trailers = collected.trailers().cloned().unwrap_or_default();
    let status = Status::from_header_map(&headers).or_else(|| Status::from_header_map(&trailers));
    CollectedResponse { headers, data: collected.to_bytes(), status }
}

fn request() -> Request<Body> {
    calling("/digitd.v1.X/Y")
}

fn calling(method: &str) -> Request<Body> {
    Request::builder().uri(method).header(CONTENT_TYPE, "application/grpc").body(Body::empty()).unwrap()
}

fn with_timeout(text: &str) -> Request<Body> {
    let mut request = request();
    request.headers_mut().insert("grpc-timeout", text.parse().unwrap());
    request
}

fn streaming<S>(frames: S) -> Response<Body>
where
    S: futures::Stream<Item = Result<http_body::Frame<Bytes>, Status>> + Send + 'static,
{
    Response::new(Body::new(StreamBody::new(frames)))
}

fn data(text: &'static str) -> Result<http_body::Frame<Bytes>, Status> {
    Ok(http_body::Frame::data(Bytes::from_static(text.as_bytes())))
}

fn serving() -> (watch::Sender<Phase>, Shutdown) {
    Shutdown::begin()
}

fn reason(response: &CollectedResponse) -> (Code, String) {
    let status = response.status.as_ref().expect("the call ended with a status");
    (status.code(), status.get_details_error_info().unwrap().reason)
}

#[tokio::test]
async fn a_panic_in_a_handler_is_an_internal_error_that_reveals_nothing() {
    let (_sender, shutdown) = serving();
    let response = call(shutdown, request(), |_| async { panic!("secret path /x") }).await;
    assert_eq!(reason(&response), (Code::Internal, "BACKEND_FAILURE".to_owned()));
    assert!(!response.status.unwrap().message().contains("secret"));
}

#[tokio::test]
async fn a_panic_in_a_stream_ends_it_with_a_status() {
    let (_sender, shutdown) = serving();
    let response = call(shutdown, request(), |_| async {
        let mut sent = false;
        streaming(stream::poll_fn(move |_| match std::mem::replace(&mut sent, true) {
            false => Poll::Ready(Some(data("first"))),
            true => panic!("secret"),
        }))
    });
    let response = response.await;
    assert_eq!(response.data, "first");
    assert_eq!(reason(&response), (Code::Internal, "BACKEND_FAILURE".to_owned()));
}

#[tokio::test]
async fn an_expired_deadline_is_deadline_exceeded() {
    let (_sender, shutdown) = serving();
    let response = call(shutdown, with_timeout("20m"), |_| future::pending()).await;
    assert_eq!(reason(&response), (Code::DeadlineExceeded, "DEADLINE".to_owned()));
}

#[tokio::test]
async fn a_stream_ends_at_its_deadline_too() {
    let (_sender, shutdown) = serving();
    let response = call(shutdown, with_timeout("20m"), |_| async {
        streaming(stream::StreamExt::chain(stream::iter([data("first")]), stream::pending()))
    });
    let response = response.await;
    assert_eq!(response.data, "first");
    assert_eq!(reason(&response), (Code::DeadlineExceeded, "DEADLINE".to_owned()));
}

#[tokio::test]
async fn a_late_call_never_reaches_its_handler() {
    let (_sender, shutdown) = serving();
    let response = call(shutdown, with_timeout("0n"), |_| async { panic!("called") }).await;
    assert_eq!(reason(&response).0, Code::DeadlineExceeded);
}

#[tokio::test]
async fn handlers_see_the_deadline_and_the_caller_sees_its_id() {
    let (_sender, shutdown) = serving();
    let mut request = with_timeout("100S");
    request.headers_mut().insert(REQUEST_ID, "mine-1".parse().unwrap());
    let response = call(shutdown, request, |request: Request<Body>| async move {
        let context = request.extensions().get::<CallContext>().unwrap();
        let left = context.deadline().unwrap() - std::time::Instant::now();
        assert!(left > Duration::from_secs(50) && left <= Duration::from_secs(100));
        Response::new(Body::empty())
    });
    let response = response.await;
    assert_eq!(response.headers[REQUEST_ID], "mine-1");
    assert!(response.status.is_none());
}

#[tokio::test]
async fn a_draining_server_rejects_new_calls_and_serves_probes() {
    let (sender, shutdown) = serving();
    sender.send(Phase::Draining).unwrap();
    let rejected = call(shutdown.clone(), request(), |_| async { panic!("called") }).await;
    assert_eq!(reason(&rejected), (Code::Unavailable, "DRAINING".to_owned()));
    assert!(rejected.status.unwrap().get_details_retry_info().is_some());
    for probe in ["grpc.health.v1.Health/Check", "inference.GRPCInferenceService/ServerReady"] {
        let response =
            call(shutdown.clone(), calling(&format!("/{probe}")), |_| async { Response::new(Body::empty()) })
                .await;
        assert!(response.status.is_none());
    }
}

#[tokio::test]
async fn a_closing_server_ends_open_streams() {
    let (sender, shutdown) = serving();
    let calls = shutdown.clone();
    let (began, mut under_way) = tokio::sync::mpsc::channel(1);
    let asked = tokio::spawn(call(shutdown, request(), move |_| {
        let began = began.clone();
        async move {
            began.send(()).await.unwrap();
            streaming(stream::pending())
        }
    }));
    under_way.recv().await.unwrap();
    sender.send(Phase::Closing).unwrap();
    assert_eq!(reason(&asked.await.unwrap()), (Code::Unavailable, "DRAINING".to_owned()));
    calls.all_calls_ended().await;
}

#[tokio::test]
async fn a_deadline_that_cannot_be_read_is_rejected() {
    for text in ["999999999S", "5x", ""] {
        let (_sender, shutdown) = serving();
        let response = call(shutdown, with_timeout(text), |_| async { panic!("called") }).await;
        assert_eq!(reason(&response), (Code::InvalidArgument, "INVALID_FIELD".to_owned()));
    }
}

#[tokio::test]
async fn a_request_of_another_protocol_gets_the_status_of_http() {
    for (kind, status) in [
        (None, 415),
        (Some("application/json"), 415),
        (Some("application/grpcx"), 415),
        (Some("application/grpc"), 200),
        (Some("application/grpc+proto"), 200),
        (Some("application/grpc;charset=utf-8"), 200),
    ] {
        let mut server = counted(|_| async { unary(1) });
        let mut request = request();
        match kind {
            Some(kind) => drop(request.headers_mut().insert(CONTENT_TYPE, kind.parse().unwrap())),
            None => drop(request.headers_mut().remove(CONTENT_TYPE)),
        }
        let Ok(response) = server.service.call(request).await;
        assert_eq!(response.status(), status, "{kind:?}");
        drop(response.into_body().collect().await.unwrap());
        let code = if status == 415 { "InvalidArgument 1" } else { "OK 1" };
        assert_eq!(server.ended(), [code]);
    }
}

/// A service behind the layer with the registry of its metrics.
struct Counted<S> {
    service: CallService<S>,
    registry: prometheus::Registry,
    phase: watch::Sender<Phase>,
    shutdown: Shutdown,
}

fn counted<F, R>(
    service: F,
) -> Counted<
    impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send,
>
where
    F: Fn(Request<Body>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let (phase, shutdown) = serving();
    let registry = prometheus::Registry::new();
    let service = service_fn(move |request| {
        let response = service(request);
        async move { Ok::<_, Infallible>(response.await) }
    });
    let layer = CallLayer::new(shutdown.clone(), CallMetrics::new(&registry));
    Counted { service: layer.layer(service), registry, phase, shutdown }
}

impl<S> Counted<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
{
    /// Makes a call whose response is not read yet.
    async fn respond(&mut self) -> Body {
        let Ok(response) = self.service.call(request()).await;
        response.into_body()
    }

    /// The codes of the calls that ended, with their numbers.
    fn ended(&self) -> Vec<String> {
        let families = self.registry.gather();
        let handled = families.iter().find(|family| family.name() == "grpc_server_handled_total").unwrap();
        let counted = handled.get_metric().iter().filter(|metric| metric.get_counter().get_value() > 0.0);
        let code = |metric: &prometheus::proto::Metric| {
            let label = metric.get_label().iter().find(|label| label.name() == "grpc_code").unwrap();
            format!("{} {}", label.value(), metric.get_counter().get_value())
        };
        counted.map(code).collect()
    }
}

#[tokio::test]
async fn a_call_that_its_caller_cancels_is_counted() {
    let mut server = counted(|_| future::pending());
    let mut call = Box::pin(server.service.call(with_timeout("100S")));
    assert!(futures::poll!(&mut call).is_pending());
    drop(call);
    assert_eq!(server.ended(), ["Canceled 1"]);
    drop(server.service.call(with_timeout("1n")));
    assert_eq!(server.ended(), ["Canceled 1", "DeadlineExceeded 1"]);
}

#[tokio::test]
async fn a_caller_that_leaves_while_it_sends_its_request_has_cancelled_the_call() {
    let mut server = counted(|request: Request<Body>| async move {
        // What tonic makes of it.
        request.into_body().collect().await.unwrap_err();
        Status::internal("Missing request message.").into_http()
    });
    for broken in [Status::cancelled("reset"), Status::unknown("broken pipe")] {
        let frames = stream::iter([data("begin"), Err(broken)]);
        let request = request().map(|_| Body::new(StreamBody::new(frames)));
        let Ok(response) = server.service.call(request).await;
        drop(response);
    }
    assert_eq!(server.ended(), ["Canceled 2"]);
}

/// The response of a unary call, of which the message has `bytes` bytes.
fn unary(bytes: usize) -> Response<Body> {
    let trailers = rewrite_status::trailers(&Status::new(Code::Ok, ""));
    let message = http_body::Frame::data(Bytes::from(vec![7; bytes]));
    streaming(stream::iter([Ok(message), Ok(http_body::Frame::trailers(trailers))]))
}

/// The largest message of a prediction.
const LARGE: usize = 2 << 20;

#[tokio::test(start_paused = true)]
async fn a_large_response_that_nobody_reads_is_ended_and_its_memory_is_freed() {
    let mut server = counted(|_| async { unary(LARGE) });
    let mut unread = Vec::new();
    let rejected = loop {
        assert!(unread.len() < 1000, "none is rejected");
        let mut body = server.respond().await;
        let first = body.frame().await.unwrap().unwrap();
        match first.into_trailers() {
            Ok(trailers) => break Status::from_header_map(&trailers).unwrap(),
            Err(_) => unread.push(body),
        }
    };
    assert_eq!(rejected.code(), Code::ResourceExhausted);
    assert_eq!(rejected.get_details_error_info().unwrap().reason, "UNREAD_RESPONSES");
    assert!(rejected.get_details_retry_info().is_some());
    // Time passes by itself until the calls are ended.
    server.shutdown.all_calls_ended().await;
    let late = format!("DeadlineExceeded {}", unread.len());
    assert_eq!(server.ended(), [late, "ResourceExhausted 1".to_owned()]);
    let status = unread[0].frame().await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(Status::from_header_map(&status).unwrap().code(), Code::DeadlineExceeded);
    let read = server.respond().await.collect().await.unwrap();
    assert_eq!(read.to_bytes().len(), LARGE);
}

#[tokio::test(start_paused = true)]
async fn a_response_that_nobody_reads_does_not_hold_the_end_of_a_draining_server() {
    let mut server = counted(|_| async {
        streaming(stream::StreamExt::chain(stream::iter([data("first")]), stream::pending()))
    });
    let mut reading = server.respond().await;
    let mut unread = server.respond().await;
    for body in [&mut reading, &mut unread] {
        body.frame().await.unwrap().unwrap();
    }
    let next = reading.frame();
    let mut next = std::pin::pin!(next);
    assert!(futures::poll!(&mut next).is_pending());
    let began = tokio::time::Instant::now();
    server.phase.send(Phase::Draining).unwrap();
    while server.ended().is_empty() {
        let _ = tokio::time::timeout(Duration::from_millis(100), future::pending::<()>()).await;
    }
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(server.ended(), ["Unavailable 1"]);
    assert!(futures::poll!(&mut next).is_pending(), "this caller reads");
}

#[tokio::test]
async fn a_small_response_that_is_ready_does_not_hold_a_draining_server() {
    let mut server = counted(|_| async { unary(100) });
    let mut body = server.respond().await;
    body.frame().await.unwrap().unwrap();
    server.shutdown.all_calls_ended().await;
    body.frame().await.unwrap().unwrap();
    drop(body);
    assert_eq!(server.ended(), ["OK 1"]);
}
