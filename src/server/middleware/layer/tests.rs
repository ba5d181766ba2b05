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
    Request::builder().uri("/digitd.v1.X/Y").body(Body::empty()).unwrap()
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
        let probe = Request::builder().uri(format!("/{probe}")).body(Body::empty()).unwrap();
        let response = call(shutdown.clone(), probe, |_| async { Response::new(Body::empty()) }).await;
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
