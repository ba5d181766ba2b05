//! `TrainingService`: runs are started, watched, stopped and listed. A run belongs to the server:
//! its caller's going away ends the stream and nothing else, unless the caller asked otherwise.

use std::pin::Pin;

use futures::{Stream, StreamExt, TryStreamExt, stream};
use tokio::runtime::Handle;
use tonic::{Request, Response, Status};
use tracing::Instrument;

use super::{
    convert::{
        dataset::train_dataset,
        event::{from_event, from_plan},
        model::reference,
        resume::resume_request,
        run::{after_sequence, from_run, run_at, run_id, run_page, run_token},
        train::{Extent, Manner, OnDisconnect, resolve_initial, train_request},
    },
    status,
};
use crate::{
    engine::{Engine, Watch},
    ids::RunId,
    pb::digitd::v1::{self, training_service_server::TrainingService},
    train::TrainConfig,
};

/// The service; clones share the engine.
#[derive(Debug, Clone)]
pub struct Training {
    engine: Engine,
}

type EventStream = Pin<Box<dyn Stream<Item = Result<v1::TrainEvent, Status>> + Send>>;

impl Training {
    pub fn new(engine: Engine) -> Self {
        Self { engine }
    }
}

#[tonic::async_trait]
impl TrainingService for Training {
    type TrainStream = EventStream;
    type WatchRunStream = EventStream;

    async fn train(&self, request: Request<v1::TrainRequest>) -> Result<Response<EventStream>, Status> {
        let mut request = request.into_inner();
        if let Some(initial) = &request.initial {
            let initial = self.engine.version(&reference("initial", Some(initial.clone()))?).await?;
            let network = request.network.clone();
            resolve_initial(&mut request, &initial);
            if !request.resume_run_id.is_empty() {
                // What is left out is the run's own.
                request.network = network;
            }
        }
        let (start, manner) = self.start_of(request).await?;
        let engine = self.engine.clone();
        if manner.extent == Extent::Validate {
            let (config, run) = match start {
                Start::New(config) => (config, None),
                Start::Resumed(run, config) => (config, Some(run)),
            };
            let (plan, device) = engine.plan(*config, run).await?;
            return Ok(Response::new(stream::iter([Ok(from_plan(&plan, device))]).boxed()));
        }
        // In a task of its own: a caller that goes away meanwhile leaves no half-made run. Where
        // nobody takes the run any more, its guard is dropped with it.
        let starting = async move {
            let (run, after) = match start {
                Start::New(config) => (engine.begin(*config, manner.when_busy).await?, 0),
                Start::Resumed(run, config) => (run, engine.resume(run, *config, manner.when_busy).await?),
            };
            Ok::<_, Status>((run, after, Guard::new(engine, run, manner.on_disconnect)))
        };
        let (run, after, guard) = tokio::spawn(starting.in_current_span()).await.map_err(status::lost)??;
        let watch = self.engine.watch(run, after).await?;
        Ok(Response::new(events(run, watch, guard)))
    }

    async fn watch_run(
        &self,
        request: Request<v1::WatchRunRequest>,
    ) -> Result<Response<EventStream>, Status> {
        let request = request.into_inner();
        let run = run_id(&request.run_id)?;
        let after = after_sequence(request.after_sequence)?;
        let watch = self.engine.watch(run, after).await?;
        Ok(Response::new(events(run, watch, None)))
    }

    async fn cancel_run(
        &self,
        request: Request<v1::CancelRunRequest>,
    ) -> Result<Response<v1::CancelRunResponse>, Status> {
        let run = self.engine.cancel(run_id(&request.into_inner().run_id)?).await?;
        Ok(Response::new(v1::CancelRunResponse { run: Some(from_run(&run)) }))
    }

    async fn get_run(
        &self,
        request: Request<v1::GetRunRequest>,
    ) -> Result<Response<v1::GetRunResponse>, Status> {
        let run = self.engine.run(run_id(&request.into_inner().run_id)?).await?;
        Ok(Response::new(v1::GetRunResponse { run: Some(from_run(&run)) }))
    }

    async fn list_runs(
        &self,
        request: Request<v1::ListRunsRequest>,
    ) -> Result<Response<v1::ListRunsResponse>, Status> {
        let page = self.engine.runs(run_page(request.get_ref())?).await?;
        let next_page_token = run_token(page.items.last().filter(|_| page.more));
        let runs = page.items.iter().map(from_run).collect();
        Ok(Response::new(v1::ListRunsResponse { runs, next_page_token }))
    }
}

/// What a request asks for.
enum Start {
    New(Box<TrainConfig>),
    Resumed(RunId, Box<TrainConfig>),
}

impl Training {
    async fn start_of(&self, request: v1::TrainRequest) -> Result<(Start, Manner), Status> {
        if request.resume_run_id.is_empty() {
            let dataset = train_dataset(request.dataset.clone())?;
            let facts = self.engine.dataset_facts(&dataset.name).await?;
            let (config, manner) = train_request(request, facts)?;
            return Ok((Start::New(Box::new(config)), manner));
        }
        let run = run_at("resume_run_id", &request.resume_run_id)?;
        let own = self.engine.run(run).await?.config;
        let facts = self.engine.dataset_facts(&own.dataset.name).await?;
        let (config, manner) = resume_request(&own, &request, facts)?;
        Ok((Start::Resumed(run, Box::new(config)), manner))
    }
}

/// The events of a run to its last. A caller that does not read leaves the watch where it is; the
/// log waits for nobody.
fn events(run: RunId, watch: Watch, guard: Option<Guard>) -> EventStream {
    let chunks = stream::try_unfold((watch, guard), |(mut watch, mut guard)| async move {
        match watch.next().await? {
            Some(records) => Ok::<_, Status>(Some((records, (watch, guard)))),
            None => {
                if let Some(guard) = &mut guard {
                    guard.disarm();
                }
                Ok(None)
            }
        }
    });
    let events = chunks.map_ok(move |records| {
        stream::iter(records)
            .map(move |record| Ok(from_event(run, record.sequence, record.time, &record.event)))
    });
    events.try_flatten().boxed()
}

/// Cancels its run when it is dropped before the run's end.
#[derive(Debug)]
struct Guard {
    engine: Engine,
    run: RunId,
    runtime: Handle,
    armed: bool,
}

impl Guard {
    fn new(engine: Engine, run: RunId, on_disconnect: OnDisconnect) -> Option<Self> {
        match on_disconnect {
            OnDisconnect::GoOn => None,
            OnDisconnect::Cancel => Some(Self { engine, run, runtime: Handle::current(), armed: true }),
        }
    }

    fn disarm(&mut self) {
        self.armed = false;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let (engine, run) = (self.engine.clone(), self.run);
        self.runtime.spawn(async move {
            match engine.cancel(run).await {
                Ok(_) => tracing::info!(%run, "cancelled: its caller went away"),
                Err(error) => tracing::warn!(%run, %error, "not cancelled though its caller went away"),
            }
        });
    }
}
