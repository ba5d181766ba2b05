//! More calls than can be answered: what is not answered hears why and when to try again.

use std::sync::Arc;

use bytes::Bytes;
use digitd::pb::digitd::v1;
use tokio::task::JoinSet;
use tonic::{Code, Request};
use tonic_types::StatusExt;

use super::server::{TestServer, unseen_images};

const CALLERS: usize = 256;
const CALLS: usize = 40;

/// What became of a caller's calls.
#[derive(Default)]
struct Seen {
    ok: usize,
    full: usize,
    late: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_beyond_the_queue_are_refused_with_a_time_to_try_again_and_the_server_stays_well() {
    let server = TestServer::start().await;
    server.train().await;
    let server = TestServer::serving(server.stop().await, |serving| serving.queue_capacity = 64).await;
    let images = Arc::new(unseen_images(16));
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (mut client, images) = (server.prediction(), images.clone());
        callers.spawn(async move {
            let mut seen = Seen::default();
            for _ in 0..CALLS {
                let pixel_batch = Bytes::copy_from_slice(images.pixels());
                let mut request =
                    Request::new(v1::PredictRequest { pixel_batch, ..v1::PredictRequest::default() });
                if caller % 4 == 0 {
                    request.set_timeout(std::time::Duration::from_millis(20));
                }
                match client.predict(request).await {
                    Ok(answer) => {
                        assert_eq!(answer.into_inner().predictions.len(), 16);
                        seen.ok += 1;
                    }
                    Err(status) if status.code() == Code::ResourceExhausted => {
                        assert_eq!(status.get_details_error_info().unwrap().reason, "QUEUE_FULL");
                        assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
                        seen.full += 1;
                    }
                    Err(status) => {
                        // The caller's own clock may end the call before the server's answer is there.
                        assert!(
                            matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled),
                            "{status:?}"
                        );
                        assert_eq!(caller % 4, 0, "a call without a deadline is never late");
                        seen.late += 1;
                    }
                }
            }
            seen
        });
    }
    let seen = callers.join_all().await;
    let sum = |of: fn(&Seen) -> usize| seen.iter().map(of).sum::<usize>();
    assert!(sum(|seen| seen.ok) > 0 && sum(|seen| seen.full) > 0, "neither all nor none are answered");
    assert_eq!(sum(|seen| seen.ok + seen.full + seen.late), CALLERS * CALLS);
    let pixel_batch = Bytes::copy_from_slice(images.pixels());
    let request = v1::PredictRequest { pixel_batch, ..v1::PredictRequest::default() };
    assert_eq!(server.prediction().predict(request).await.unwrap().into_inner().predictions.len(), 16);
}
