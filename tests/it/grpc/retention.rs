//! Old versions that are deleted automatically if the settings limit their number.

use std::{sync::Arc, time::Duration};

use digitd::pb::digitd::v1::{self, train_event::Event};

use super::{
    server::{TestServer, endless, run_id, until},
    transfer::{TUTORIAL, file, import},
};

async fn versions(server: &TestServer) -> Vec<i32> {
    let listed = server.registry().list_versions(v1::ListVersionsRequest::default()).await.unwrap();
    listed.into_inner().versions.iter().map(|version| version.version).collect()
}

/// Polls until these are the versions.
async fn become_these(server: &TestServer, expected: &[i32]) {
    let asking = async {
        while versions(server).await != expected {
            tokio::task::yield_now().await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(60), asking).await.is_err() {
        panic!("the versions are {:?}, not {expected:?}", versions(server).await);
    }
}

async fn point(server: &TestServer, alias: &str, version: i32) {
    let set = v1::SetAliasRequest { alias: alias.to_owned(), version, ..v1::SetAliasRequest::default() };
    server.registry().set_alias(set).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_versions_and_those_with_an_alias_are_retained() {
    let server = TestServer::keeping(Arc::new(tempfile::tempdir().unwrap()), 2).await;
    server.train().await;
    point(&server, "production", 1).await;
    for _ in 0..3 {
        server.train().await;
    }
    become_these(&server, &[4, 3, 1]).await;
    point(&server, "production", 4).await;
    become_these(&server, &[4, 3]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_deletes_the_versions_beyond_the_limit() {
    let server = TestServer::start().await;
    for _ in 0..3 {
        server.train().await;
    }
    point(&server, "production", 2).await;
    assert_eq!(versions(&server).await, [3, 2, 1]);
    let server = TestServer::keeping(server.stop().await, 1).await;
    assert_eq!(versions(&server).await, [3, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_initial_version_of_a_run_is_kept_until_the_run_ends() {
    let server = TestServer::keeping(Arc::new(tempfile::tempdir().unwrap()), 1).await;
    server.train().await;
    server.train().await;
    become_these(&server, &[2]).await;
    let initial = Some(v1::ModelRef::default());
    let request = v1::TrainRequest { initial, ..endless() };
    let mut stream = server.training().train(request).await.unwrap().into_inner();
    let received = until(&mut stream, |event| matches!(event, Event::Batch(_))).await;
    for _ in 0..2 {
        // Each import moves `latest`; a version that was just imported is kept for a while.
        import(&server, v1::ImportMetadata::default(), &file(TUTORIAL)).await.unwrap();
    }
    become_these(&server, &[4, 3, 2]).await;
    let cancel = v1::CancelRunRequest { run_id: run_id(&received) };
    server.training().cancel_run(cancel).await.unwrap();
    until(&mut stream, |event| matches!(event, Event::Finished(_))).await;
    point(&server, "production", 4).await;
    become_these(&server, &[4, 3]).await;
}
