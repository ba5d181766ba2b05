//! The client against a server whose streams break off: a server of the contract that follows a script.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    future::ready,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract, routing::post};
use digitd_client::{
    Client, Code, Error,
    v1::{
        BatchReport, GetRunRequest, GetRunResponse, Run, RunFinished, RunPlan, RunState, TrainEvent,
        TrainRequest, WatchRunRequest, train_event::Event,
    },
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
    /// The run as GetRun shows it.
    run: Run,
}

impl FakeServer {
    fn of(scripts: Vec<Script>) -> Self {
        Self { scripts: Arc::new(Mutex::new(scripts)), ..Default::default() }
    }

    /// A client of this server, which serves from now on.
    async fn client(&self) -> Client {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, self.clone().router()).into_future());
        Client::connect(&url).await.unwrap()
    }

    fn next(&self, after: i32) -> Result<Response<ScriptStream>, Status> {
        self.requested.lock().unwrap().push(after);
        let mut scripts = self.scripts.lock().unwrap();
        if scripts.is_empty() {
            return Err(Status::not_found("no such run"));
        }
        Ok(Response::new(tokio_stream::iter(scripts.remove(0))))
    }

    /// The calls that stream events and the one that shows the run, without the server stubs, which this crate does not generate.
    fn router(self) -> Router {
        let (watched, trained) = (self.clone(), self.clone());
        let train = move |call: extract::Request| async move {
            let service = service_fn(|_: Request<TrainRequest>| ready(trained.next(0)));
            Grpc::new(ProstCodec::default()).server_streaming(service, call).await
        };
        let watch_run = move |call: extract::Request| async move {
            let service = service_fn(|request: Request<WatchRunRequest>| {
                ready(watched.next(request.into_inner().after_sequence))
            });
            Grpc::new(ProstCodec::default()).server_streaming(service, call).await
        };
        let get_run = move |call: extract::Request| async move {
            let response = GetRunResponse { run: Some(self.run) };
            let service = service_fn(|_: Request<GetRunRequest>| {
                ready(Ok::<_, Status>(Response::new(response.clone())))
            });
            Grpc::new(ProstCodec::default()).unary(service, call).await
        };
        Router::new()
            .route("/digitd.v1.TrainingService/GetRun", post(get_run))
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
    let server = FakeServer::of(scripts);
    let client = server.client().await;
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

#[tokio::test]
async fn a_broken_stream_resumes_for_a_caller_that_waits_a_moment_at_a_time() {
    let server = FakeServer::of(vec![vec![batch(1), broken()], vec![batch(2), broken()], vec![finished(3)]]);
    let mut events = server.client().await.train(TrainRequest::default()).await.unwrap();
    let mut received = Vec::new();
    let all = async {
        loop {
            match tokio::time::timeout(Duration::from_millis(50), events.next()).await {
                Ok(Ok(Some(event))) => received.push(event.sequence),
                Ok(ended) => break ended.unwrap(),
                Err(_) => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("the stream is reopened");
    assert_eq!(received, [1, 2, 3]);
    assert_eq!(*server.requested.lock().unwrap(), [0, 1, 2]);
}

#[tokio::test]
async fn a_run_that_has_ended_is_not_reopened_behind_its_last_event() {
    for after in [5, 99] {
        let run = Run { state: RunState::Completed.into(), last_sequence: Some(5), ..Run::default() };
        let server = FakeServer { run, ..FakeServer::of(vec![vec![]]) };
        let mut events = server.client().await.watch("r", after).await.unwrap();
        assert!(events.next().await.unwrap().is_none());
        assert!(events.next().await.unwrap().is_none());
        assert_eq!(*server.requested.lock().unwrap(), [after]);
    }
}

#[tokio::test]
async fn a_stream_that_ends_before_the_last_event_of_its_run_is_reopened() {
    for state in [RunState::Completed, RunState::Running] {
        let run = Run { state: state.into(), last_sequence: Some(5), ..Run::default() };
        let server = FakeServer { run, ..FakeServer::of(vec![vec![], vec![finished(5)]]) };
        let mut events = server.client().await.watch("r", 4).await.unwrap();
        assert_eq!(events.next().await.unwrap().unwrap().sequence, 5);
        assert!(events.next().await.unwrap().is_none());
    }
}
