//! `TrainingService`: starts, watches, cancels and lists runs. A run belongs to the server: when its caller
//! disconnects only the stream ends, unless the request says otherwise.

use std::pin::Pin;

use futures::{Stream, StreamExt, TryStreamExt, stream};
use tokio::runtime::Handle;
use tonic::{Request, Response, Status};
use tracing::Instrument;

use super::{
    convert::{
        shared::{
            dataset::train_dataset,
            page::{run_page, run_token},
            reference::{reference, run_id},
        },
        training::{
            event::{from_event, from_plan},
            options::{OnDisconnect, RunMode, RunOptions},
            request::{resolve_initial, train_request},
            resume::resume_request,
            run::{after_sequence, from_run},
        },
    },
    status,
};
use crate::{
    engine::{Engine, Watch},
    ids::RunId,
    pb::digitd::v1::{self, training_service_server::TrainingService},
    train::ValidTrainConfig,
};

/// The service; clones share the engine.
#[derive(Debug, Clone)]
pub struct TrainingApi {
    engine: Engine,
}

type EventStream = Pin<Box<dyn Stream<Item = Result<v1::TrainEvent, Status>> + Send>>;

impl TrainingApi {
    pub fn new(engine: Engine) -> Self {
        Self { engine }
    }
}

#[tonic::async_trait]
impl TrainingService for TrainingApi {
    type TrainStream = EventStream;
    type WatchRunStream = EventStream;

    async fn train(&self, request: Request<v1::TrainRequest>) -> Result<Response<EventStream>, Status> {
        let mut request = request.into_inner();
        if let Some(initial) = &request.initial {
            let initial = self.engine.version(&reference("initial", Some(initial.clone()))?).await?;
            let network = request.network.clone();
            resolve_initial(&mut request, &initial);
            if !request.resume_run_id.is_empty() {
                // A request to resume keeps the network of the run, so that of `initial` must not fill it in.
                request.network = network;
            }
        }
        let (config, resumed, options) = self.resolve(request).await?;
        let engine = self.engine.clone();
        if options.mode == RunMode::Validate {
            let (plan, device) = engine.plan(config, resumed).await?;
            return Ok(Response::new(stream::iter([Ok(from_plan(&plan, device))]).boxed()));
        }
        // The start has a task of its own, so that a caller that disconnects meanwhile leaves no half-made
        // run. The task then drops its result, and with it `CancelOnDrop`.
        let starting = async move {
            let (run, after) = match resumed {
                None => (engine.begin(config, options.when_busy).await?, 0),
                Some(run) => (run, engine.resume(run, config, options.when_busy).await?),
            };
            Ok::<_, Status>((run, after, CancelOnDrop::new(engine, run, options.on_disconnect)))
        };
        let (run, after, cancel) = tokio::spawn(starting.in_current_span()).await.map_err(status::lost)??;
        let watch = self.engine.watch(run, after).await?;
        Ok(Response::new(events(run, watch, cancel)))
    }

    async fn watch_run(
        &self,
        request: Request<v1::WatchRunRequest>,
    ) -> Result<Response<EventStream>, Status> {
        let request = request.into_inner();
        let run = run_id("run_id", &request.run_id)?;
        let after = after_sequence(request.after_sequence)?;
        let watch = self.engine.watch(run, after).await?;
        Ok(Response::new(events(run, watch, None)))
    }

    async fn cancel_run(
        &self,
        request: Request<v1::CancelRunRequest>,
    ) -> Result<Response<v1::CancelRunResponse>, Status> {
        let run = self.engine.cancel(run_id("run_id", &request.into_inner().run_id)?).await?;
        Ok(Response::new(v1::CancelRunResponse { run: Some(from_run(&run)) }))
    }

    async fn get_run(
        &self,
        request: Request<v1::GetRunRequest>,
    ) -> Result<Response<v1::GetRunResponse>, Status> {
        let run = self.engine.run(run_id("run_id", &request.into_inner().run_id)?).await?;
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

impl TrainingApi {
    /// Checks a request: the config of the run, the run that it resumes, if any, and how it is requested.
    async fn resolve(
        &self,
        request: v1::TrainRequest,
    ) -> Result<(ValidTrainConfig, Option<RunId>, RunOptions), Status> {
        if request.resume_run_id.is_empty() {
            let dataset = train_dataset(request.dataset.clone())?;
            let facts = self.engine.dataset_info(&dataset.name).await?;
            let (config, options) = train_request(request, facts)?;
            return Ok((config, None, options));
        }
        let run = run_id("resume_run_id", &request.resume_run_id)?;
        let stored = self.engine.run(run).await?.config;
        let info = self.engine.dataset_info(&stored.dataset.name).await?;
        let (config, options) = resume_request(&stored, &request, info)?;
        Ok((config, Some(run), options))
    }
}

/// The events of a run up to its last one. A slow caller slows only its own watch; the log never waits for it.
fn events(run: RunId, watch: Watch, cancel: Option<CancelOnDrop>) -> EventStream {
    let chunks = stream::try_unfold((watch, cancel), |(mut watch, mut cancel)| async move {
        match watch.next().await? {
            Some(records) => Ok::<_, Status>(Some((records, (watch, cancel)))),
            None => {
                if let Some(cancel) = &mut cancel {
                    cancel.disarm();
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

/// Cancels a run when it is dropped before the end of the run.
#[derive(Debug)]
struct CancelOnDrop {
    engine: Engine,
    run: RunId,
    runtime: Handle,
    armed: bool,
}

impl CancelOnDrop {
    fn new(engine: Engine, run: RunId, on_disconnect: OnDisconnect) -> Option<Self> {
        match on_disconnect {
            OnDisconnect::Detach => None,
            OnDisconnect::Cancel => Some(Self { engine, run, runtime: Handle::current(), armed: true }),
        }
    }

    fn disarm(&mut self) {
        self.armed = false;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let (engine, run) = (self.engine.clone(), self.run);
        self.runtime.spawn(async move {
            match engine.cancel(run).await {
                Ok(_) => tracing::info!(%run, "run cancelled: its caller disconnected"),
                Err(error) => {
                    tracing::warn!(%run, %error, "run not cancelled although its caller disconnected")
                }
            }
        });
    }
}
