//! More calls than can be served: the rejected ones get a reason and a retry delay.

use std::sync::Arc;

use bytes::Bytes;
use digitd::pb::digitd::v1;
use tokio::task::JoinSet;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{
    limits::call,
    server::{TestServer, unseen_images},
    status::check,
};

const CALLERS: usize = 256;
const CALLS: usize = 40;

/// The outcomes of a caller's calls.
#[derive(Default)]
struct CallOutcomes {
    ok: usize,
    full: usize,
    late: usize,
}

impl CallOutcomes {
    /// Counts the outcome of a call; no other outcome is possible.
    fn add(&mut self, status: &Status) {
        match status.code() {
            Code::Ok => self.ok += 1,
            Code::DeadlineExceeded => {
                check(status, Code::DeadlineExceeded, "DEADLINE");
                self.late += 1;
            }
            _ => {
                check(status, Code::ResourceExhausted, "QUEUE_FULL");
                assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
                self.full += 1;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_beyond_the_queue_are_rejected_with_a_retry_time_and_the_server_stays_healthy() {
    let server = TestServer::start().await;
    server.train().await;
    let server = TestServer::serving(server.stop().await, |serving| serving.queue_capacity = 64).await;
    let server = Arc::new(server);
    let pixel_batch = Bytes::copy_from_slice(unseen_images(16).pixels());
    let request = v1::PredictRequest { pixel_batch, ..v1::PredictRequest::default() };
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (server, request) = (server.clone(), request.clone());
        callers.spawn(async move {
            let (mut outcomes, mut client) = (CallOutcomes::default(), server.prediction());
            for _ in 0..CALLS {
                // A client of tonic with a deadline stops waiting by itself and gets no response.
                if caller % 4 == 0 {
                    let path = "/digitd.v1.PredictionService/Predict";
                    outcomes.add(&call(&server, path, "20m", &request).await);
                    continue;
                }
                match client.predict(request.clone()).await {
                    Ok(response) => {
                        assert_eq!(response.into_inner().predictions.len(), 16);
                        outcomes.ok += 1;
                    }
                    Err(status) => {
                        assert_ne!(status.code(), Code::DeadlineExceeded, "it has none");
                        outcomes.add(&status);
                    }
                }
            }
            outcomes
        });
    }
    let outcomes = callers.join_all().await;
    let sum = |of: fn(&CallOutcomes) -> usize| outcomes.iter().map(of).sum::<usize>();
    assert!(
        sum(|outcomes| outcomes.ok) > 0 && sum(|outcomes| outcomes.full) > 0,
        "neither all nor none are answered"
    );
    assert_eq!(sum(|outcomes| outcomes.ok + outcomes.full + outcomes.late), CALLERS * CALLS);
    assert_eq!(server.prediction().predict(request).await.unwrap().into_inner().predictions.len(), 16);
}
