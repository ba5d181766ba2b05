//! The client against a server that breaks off: a server of the contract that plays a script.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
};

use digitd::{
    client::{Client, Error},
    pb::digitd::v1::{
        BatchReport, CancelRunRequest, CancelRunResponse, GetRunRequest, GetRunResponse, ListRunsRequest,
        ListRunsResponse, RunFinished, RunPlan, TrainEvent, TrainRequest, WatchRunRequest,
        train_event::Event,
        training_service_server::{TrainingService, TrainingServiceServer},
    },
};
use tokio_stream::{Stream, wrappers::TcpListenerStream};
use tonic::{Code, Request, Response, Status};

/// What one call streams.
type Script = Vec<Result<TrainEvent, Status>>;

/// Streams the scripts one after the other, and notes from where each was asked for.
#[derive(Clone, Default)]
struct Scripted {
    scripts: Arc<Mutex<Vec<Script>>>,
    asked: Arc<Mutex<Vec<i32>>>,
}

impl Scripted {
    fn next(&self, after: i32) -> Result<Response<Events>, Status> {
        self.asked.lock().unwrap().push(after);
        let mut scripts = self.scripts.lock().unwrap();
        if scripts.is_empty() {
            return Err(Status::not_found("no such run"));
        }
        Ok(Response::new(Box::pin(tokio_stream::iter(scripts.remove(0)))))
    }
}

type Events = Pin<Box<dyn Stream<Item = Result<TrainEvent, Status>> + Send>>;

#[tonic::async_trait]
impl TrainingService for Scripted {
    type TrainStream = Events;
    type WatchRunStream = Events;

    async fn train(&self, _: Request<TrainRequest>) -> Result<Response<Events>, Status> {
        self.next(0)
    }

    async fn watch_run(&self, request: Request<WatchRunRequest>) -> Result<Response<Events>, Status> {
        self.next(request.into_inner().after_sequence)
    }

    async fn cancel_run(&self, _: Request<CancelRunRequest>) -> Result<Response<CancelRunResponse>, Status> {
        Err(Status::unimplemented("not played"))
    }

    async fn get_run(&self, _: Request<GetRunRequest>) -> Result<Response<GetRunResponse>, Status> {
        Err(Status::unimplemented("not played"))
    }

    async fn list_runs(&self, _: Request<ListRunsRequest>) -> Result<Response<ListRunsResponse>, Status> {
        Err(Status::unimplemented("not played"))
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

/// Follows a run of a server with these scripts: the numbers of its events, how it ended, and from
/// where it was asked for.
async fn follow(scripts: Vec<Script>) -> (Vec<i32>, Result<(), Error>, Vec<i32>) {
    let server = Scripted { scripts: Arc::new(Mutex::new(scripts)), ..Default::default() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = TrainingServiceServer::new(server.clone());
    let serving = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));

    let client = Client::connect(&url).await.unwrap();
    let mut seen = Vec::new();
    let ended = match client.train(TrainRequest::default()).await {
        Err(error) => Err(error),
        Ok(mut events) => loop {
            match events.next().await {
                Ok(Some(event)) => seen.push(event.sequence),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        },
    };
    let asked = server.asked.lock().unwrap().clone();
    (seen, ended, asked)
}

#[tokio::test]
async fn a_broken_stream_is_taken_up_after_its_last_event() {
    let (seen, ended, asked) =
        follow(vec![vec![batch(1), batch(2), broken()], vec![batch(3)], vec![batch(4), finished(5)]]).await;
    ended.unwrap();
    assert_eq!(seen, [1, 2, 3, 4, 5]);
    assert_eq!(asked, [0, 2, 3]);
}

#[tokio::test]
async fn an_event_that_comes_twice_is_seen_once() {
    let (seen, ended, _) =
        follow(vec![vec![batch(1), batch(2), broken()], vec![batch(2), finished(3)]]).await;
    ended.unwrap();
    assert_eq!(seen, [1, 2, 3]);
}

#[tokio::test]
async fn the_answer_to_a_validation_is_all_that_comes() {
    let validated = || {
        let event = Some(Event::Validated(RunPlan::default()));
        Ok(TrainEvent { event, ..Default::default() })
    };
    for script in [vec![validated()], vec![validated(), broken()]] {
        let (seen, ended, asked) = follow(vec![script, vec![finished(1)]]).await;
        ended.unwrap();
        assert_eq!((seen, asked), (vec![0], vec![0]));
    }
}

#[tokio::test]
async fn a_refused_request_is_not_tried_again() {
    let refused = Err(Status::invalid_argument("epochs is 0"));
    let (seen, ended, asked) = follow(vec![vec![refused], vec![finished(1)]]).await;
    assert!(seen.is_empty());
    assert!(matches!(ended, Err(Error::Refused(refusal)) if refusal.code == Code::InvalidArgument));
    assert_eq!(asked, [0]);
}

#[tokio::test]
async fn a_run_that_does_not_come_back_is_lost_and_named() {
    let (seen, ended, _) = follow(vec![vec![batch(1), broken()]]).await;
    assert_eq!(seen, [1]);
    let Err(Error::Lost { run_id, after, cause }) = ended else { panic!("{ended:?}") };
    assert_eq!((run_id.as_str(), after), ("r", 1));
    assert!(cause.contains("no such run"), "{cause}");
}
