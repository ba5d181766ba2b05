//! Where a store may lie, and what a start says of one that cannot be used.

use std::time::{Duration, Instant};

use axum::http::{Method, StatusCode, header::ETAG};

use crate::registry::{Error, Registry};

#[tokio::test]
async fn places_that_are_no_store_are_refused() {
    for url in ["", "ftp://host/x", "file://relative/x"] {
        let opened = Registry::open(url).await;
        assert!(matches!(opened, Err(Error::Location(_))), "{url:?}: {opened:?}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let opened = Registry::open(file.path().to_str().unwrap()).await;
    assert!(matches!(opened, Err(Error::Unwritable { .. })), "{opened:?}");
}

/// The error of a bucket at this endpoint, under a secret that must not be told.
async fn refused(endpoint: &str) -> String {
    let variables = [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", "somebody"),
        ("AWS_SECRET_ACCESS_KEY", "not-to-be-told"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let began = Instant::now();
    let error = Registry::open_with("s3://digits/fleet", variables.into_iter()).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(matches!(error, Error::Unwritable { .. }), "{error:?}");
    let said = error.to_string();
    assert!(
        said.contains("s3://digits/fleet cannot be written") && said.contains("AWS_ENDPOINT_URL"),
        "{said}"
    );
    assert!(!said.contains("not-to-be-told"), "{said}");
    said
}

async fn listener() -> (tokio::net::TcpListener, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    (listener, endpoint)
}

#[tokio::test]
async fn a_bucket_where_nobody_listens_is_told_within_seconds() {
    let (listener, endpoint) = listener().await;
    drop(listener);
    refused(&endpoint).await;
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_never_answers_is_told_within_seconds() {
    let (_listener, endpoint) = listener().await;
    refused(&endpoint).await;
}

/// Answers every call like a bucket that takes everything, whatever its conditions are.
async fn takes_everything(method: Method) -> (StatusCode, [(axum::http::HeaderName, &'static str); 1]) {
    let status = if method == Method::DELETE { StatusCode::NO_CONTENT } else { StatusCode::OK };
    (status, [(ETAG, "\"etag\"")])
}

#[tokio::test]
async fn a_bucket_that_overwrites_what_must_stay_is_refused() {
    let (listener, endpoint) = listener().await;
    let router = axum::Router::new().fallback(takes_everything);
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let said = refused(&endpoint).await;
    assert!(said.contains("it ignores If-None-Match"), "{said}");
    serving.abort();
}

#[tokio::test]
async fn a_secret_that_is_wrong_is_told_without_telling_it() {
    let (listener, endpoint) = listener().await;
    let router = axum::Router::new().fallback(async || StatusCode::FORBIDDEN);
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let said = refused(&endpoint).await;
    assert!(said.contains("403"), "{said}");
    serving.abort();
}
