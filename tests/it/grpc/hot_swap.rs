//! A moved alias reaches callers without one failed request, on this server and on others; so do versions
//! that are loaded and evicted all the time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use digitd::pb::digitd::v1::{self, model_ref::Which};
use tokio::task::JoinSet;

use super::server::{TestServer, unseen_images};

const CALLERS: usize = 64;
const SWAPS: usize = 100;

/// The version of the alias before the first swap and after each. Three versions alternate, so that a
/// prediction of two swaps ago is detected.
fn target(swap: usize) -> i32 {
    1 + (swap % 3) as i32
}

/// The numbers of swaps that have begun and ended, and of responses to callers.
#[derive(Default)]
struct Clock {
    begun: AtomicUsize,
    ended: AtomicUsize,
    responses: AtomicUsize,
    over: AtomicBool,
}

impl Clock {
    /// Returns after this many more predictions, so that calls are in progress during every swap.
    async fn answered(&self, more: usize) {
        let until = self.responses.load(SeqCst) + more;
        while self.responses.load(SeqCst) < until {
            tokio::task::yield_now().await;
        }
    }
}

fn one_picture(which: Which) -> v1::PredictRequest {
    v1::PredictRequest {
        model: Some(v1::ModelRef { name: String::new(), which: Some(which) }),
        pixel_batch: Bytes::copy_from_slice(unseen_images(1).pixels()),
        ..v1::PredictRequest::default()
    }
}

async fn three_versions() -> TestServer {
    let server = TestServer::start().await;
    for seed in 1..=3 {
        server.train_seeded(seed).await;
    }
    server
}

async fn set_alias(server: &TestServer, version: i32) {
    let request =
        v1::SetAliasRequest { alias: "production".to_owned(), version, ..v1::SetAliasRequest::default() };
    server.registry().set_alias(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_never_fail_while_an_alias_moves_and_get_the_version_that_it_had() {
    let server = three_versions().await;
    set_alias(&server, target(0)).await;
    let clock = Arc::new(Clock::default());
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (clock, mut client) = (clock.clone(), server.prediction());
        callers.spawn(async move {
            let request = one_picture(Which::Alias("production".to_owned()));
            while !clock.over.load(SeqCst) {
                let ended = clock.ended.load(SeqCst);
                let response = client.predict(request.clone()).await.expect("no call fails").into_inner();
                let possible: Vec<i32> = (ended..=clock.begun.load(SeqCst)).map(target).collect();
                assert!(possible.contains(&response.version), "{} is none of {possible:?}", response.version);
                clock.responses.fetch_add(1, SeqCst);
            }
        });
    }
    for swap in 1..=SWAPS {
        clock.answered(CALLERS).await;
        clock.begun.store(swap, SeqCst);
        set_alias(&server, target(swap)).await;
        clock.ended.store(swap, SeqCst);
    }
    clock.answered(CALLERS).await;
    clock.over.store(true, SeqCst);
    callers.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_that_are_loaded_in_turn_serve_every_call() {
    let server =
        TestServer::serving(three_versions().await.stop().await, |serving| serving.max_loaded_versions = 1)
            .await;
    let over = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (over, mut client) = (over.clone(), server.prediction());
        callers.spawn(async move {
            while !over.load(SeqCst) {
                let response = client.predict(one_picture(Which::Version(1))).await.expect("no call fails");
                assert_eq!(response.into_inner().version, 1);
            }
        });
    }
    let mut client = server.prediction();
    for cycle in 0..SWAPS as i32 {
        let version = 2 + cycle % 2;
        let response = client.predict(one_picture(Which::Version(version))).await.expect("no call fails");
        assert_eq!(response.into_inner().version, version);
    }
    over.store(true, SeqCst);
    callers.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_that_another_server_moves_reaches_this_one() {
    let first = TestServer::start().await;
    first.train_seeded(1).await;
    let store = first.shared_store();
    let second = TestServer::on(store).await;
    first.train_seeded(2).await;
    set_alias(&first, 1).await;
    let mut client = second.prediction();
    let production = || one_picture(Which::Alias("production".to_owned()));
    assert_eq!(client.predict(production()).await.unwrap().into_inner().version, 1);
    set_alias(&first, 2).await;
    let moved = Instant::now();
    while client.predict(production()).await.unwrap().into_inner().version == 1 {
        // Two seconds, and the time that a loaded machine needs to load a version.
        assert!(moved.elapsed() < Duration::from_secs(20), "the move does not reach the other server");
    }
}
