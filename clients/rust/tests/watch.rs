//! The client against a server whose streams break off: a server of the contract that follows a script.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    future::ready,
    sync::{Arc, Mutex},
};

use axum::{Router, extract, routing::post};
use digitd_client::{
    Client, Code, Error,
    v1::{BatchReport, RunFinished, RunPlan, TrainEvent, TrainRequest, WatchRunRequest, train_event::Event},
};
use tonic::{Request, Response, Status, server::Grpc};
use tonic_prost::ProstCodec;
use tower::service_fn;

/// The messages of one call.
type Script = Vec<Result<TrainEvent, Status>>;

/// A script as a stream.
type ScriptStream = tokio_stream::Iter<std::vec::IntoIter<Result<TrainEvent, Status>>>;

/// Streams the scripts one after the other, and records the event that each call started from.
#[derive(Clone, Default)]
struct FakeServer {
    scripts: Arc<Mutex<Vec<Script>>>,
    requested: Arc<Mutex<Vec<i32>>>,
}

impl FakeServer {
    fn next(&self, after: i32) -> Result<Response<ScriptStream>, Status> {
        self.requested.lock().unwrap().push(after);
        let mut scripts = self.scripts.lock().unwrap();
        if scripts.is_empty() {
            return Err(Status::not_found("no such run"));
        }
        Ok(Response::new(tokio_stream::iter(scripts.remove(0))))
    }

    /// The two calls that stream events, without the server stubs, which this crate does not generate.
    fn router(self) -> Router {
        let watched = self.clone();
        let train = move |call: extract::Request| async move {
            let service = service_fn(|_: Request<TrainRequest>| ready(self.next(0)));
            Grpc::new(ProstCodec::default()).server_streaming(service, call).await
        };
        let watch_run = move |call: extract::Request| async move {
            let service = service_fn(|request: Request<WatchRunRequest>| {
                ready(watched.next(request.into_inner().after_sequence))
            });
            Grpc::new(ProstCodec::default()).server_streaming(service, call).await
        };
        Router::new()
            .route("/digitd.v1.TrainingService/Train", post(train))
            .route("/digitd.v1.TrainingService/WatchRun", post(watch_run))
    }
}

fn batch(sequence: i32) -> Result<TrainEvent, Status> {
    let event = Some(Event::Batch(BatchReport::default()));
    Ok(TrainEvent { run_id: "r".to_owned(), sequence, event, ..Default::default() })
}

fn finished(sequence: i32) -> Result<TrainEvent, Status> {
    let event = Some(Event::Finished(RunFinished::default()));
    Ok(TrainEvent { run_id: "r".to_owned(), sequence, event, ..Default::default() })
}

fn broken() -> Result<TrainEvent, Status> {
    Err(Status::unavailable("the connection broke"))
}

/// Follows a run of a server with these scripts. Returns the numbers of its events, how it ended, and the
/// event that each call started from.
async fn follow(scripts: Vec<Script>) -> (Vec<i32>, Result<(), Error>, Vec<i32>) {
    let server = FakeServer { scripts: Arc::new(Mutex::new(scripts)), ..Default::default() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, server.clone().router()).into_future());

    let client = Client::connect(&url).await.unwrap();
    let mut received = Vec::new();
    let ended = match client.train(TrainRequest::default()).await {
        Err(error) => Err(error),
        Ok(mut events) => loop {
            match events.next().await {
                Ok(Some(event)) => received.push(event.sequence),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        },
    };
    let requested = server.requested.lock().unwrap().clone();
    (received, ended, requested)
}

#[tokio::test]
async fn a_broken_stream_resumes_after_its_last_event() {
    let (received, ended, requested) =
        follow(vec![vec![batch(1), batch(2), broken()], vec![batch(3)], vec![batch(4), finished(5)]]).await;
    ended.unwrap();
    assert_eq!(received, [1, 2, 3, 4, 5]);
    assert_eq!(requested, [0, 2, 3]);
}

#[tokio::test]
async fn a_repeated_event_is_returned_once() {
    let (received, ended, _) =
        follow(vec![vec![batch(1), batch(2), broken()], vec![batch(2), finished(3)]]).await;
    ended.unwrap();
    assert_eq!(received, [1, 2, 3]);
}

#[tokio::test]
async fn a_validation_returns_its_response_alone() {
    let validated = || {
        let event = Some(Event::Validated(RunPlan::default()));
        Ok(TrainEvent { event, ..Default::default() })
    };
    for script in [vec![validated()], vec![validated(), broken()]] {
        let (received, ended, requested) = follow(vec![script, vec![finished(1)]]).await;
        ended.unwrap();
        assert_eq!((received, requested), (vec![0], vec![0]));
    }
}

#[tokio::test]
async fn a_rejected_request_is_not_retried() {
    let rejected = Err(Status::invalid_argument("epochs is 0"));
    let (received, ended, requested) = follow(vec![vec![rejected], vec![finished(1)]]).await;
    assert!(received.is_empty());
    assert!(matches!(ended, Err(Error::Refused(rejection)) if rejection.code == Code::InvalidArgument));
    assert_eq!(requested, [0]);
}

#[tokio::test]
async fn a_run_that_stays_unreachable_is_reported_by_its_id() {
    let (received, ended, _) = follow(vec![vec![batch(1), broken()]]).await;
    assert_eq!(received, [1]);
    let Err(Error::Lost { run_id, after, cause }) = ended else { panic!("{ended:?}") };
    assert_eq!((run_id.as_str(), after), ("r", 1));
    assert!(cause.contains("no such run"), "{cause}");
}
