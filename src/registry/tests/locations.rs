//! Store locations that are valid, and the errors of those that cannot be used.

use std::time::{Duration, Instant};

use axum::http::{Method, StatusCode, header::ETAG};

use crate::registry::{Error, Registry};

#[tokio::test]
async fn locations_without_a_store_are_rejected() {
    for url in ["", "ftp://host/x", "file://relative/x"] {
        let opened = Registry::open(url).await;
        assert!(matches!(opened, Err(Error::Location(_))), "{url:?}: {opened:?}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let opened = Registry::open(file.path().to_str().unwrap()).await;
    assert!(matches!(opened, Err(Error::Unwritable { .. })), "{opened:?}");
}

/// Returns the error of a bucket at this endpoint with a secret that the error must not reveal.
async fn rejected(endpoint: &str) -> String {
    let variables = [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", "somebody"),
        ("AWS_SECRET_ACCESS_KEY", "not-to-be-revealed"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let began = Instant::now();
    let error = Registry::open_with("s3://digits/fleet", variables.into_iter()).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(matches!(error, Error::Unwritable { .. }), "{error:?}");
    let message = error.to_string();
    assert!(
        message.contains("s3://digits/fleet cannot be written") && message.contains("AWS_ENDPOINT_URL"),
        "{message}"
    );
    assert!(!message.contains("not-to-be-revealed"), "{message}");
    message
}

async fn listener() -> (tokio::net::TcpListener, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    (listener, endpoint)
}

#[tokio::test]
async fn an_unreachable_bucket_is_reported_within_seconds() {
    let (listener, endpoint) = listener().await;
    drop(listener);
    rejected(&endpoint).await;
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_never_responds_is_reported_within_seconds() {
    let (_listener, endpoint) = listener().await;
    rejected(&endpoint).await;
}

/// Responds to every call as a bucket that accepts every write, whatever its conditions are.
async fn takes_everything(method: Method) -> (StatusCode, [(axum::http::HeaderName, &'static str); 1]) {
    let status = if method == Method::DELETE { StatusCode::NO_CONTENT } else { StatusCode::OK };
    (status, [(ETAG, "\"etag\"")])
}

#[tokio::test]
async fn a_bucket_without_conditional_writes_is_rejected() {
    let (listener, endpoint) = listener().await;
    let router = axum::Router::new().fallback(takes_everything);
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let message = rejected(&endpoint).await;
    assert!(message.contains("it ignores If-None-Match"), "{message}");
    serving.abort();
}

#[tokio::test]
async fn a_wrong_secret_is_reported_without_revealing_it() {
    let (listener, endpoint) = listener().await;
    let router = axum::Router::new().fallback(async || StatusCode::FORBIDDEN);
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let message = rejected(&endpoint).await;
    assert!(message.contains("403"), "{message}");
    serving.abort();
}
