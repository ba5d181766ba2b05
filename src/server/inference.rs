//! `inference.GRPCInferenceService`: the Open Inference Protocol over the same engine, decode pool and queues
//! as `PredictionService`.

use std::time::{Duration, Instant};

use tonic::{Request, Response, Status, Streaming};
use tonic_types::StatusExt;

use super::{
    bidi_stream::{self, ResponseStream},
    convert::inference::{
        cost, describe, error_facts, from_predictions, infer_request, last_of_request, model_reference,
    },
    decode_pool::DecodePool,
    health::Readiness,
    middleware::CallContext,
};
use crate::{
    data::ImageSize,
    engine::{self, Engine, ModelStats, VersionStats},
    ids::{FieldError, ModelName, Version},
    pb::inference::{self as oip, grpc_inference_service_server::GrpcInferenceService},
    registry::{Manifest, ModelRef},
};

/// Most versions of a model that are listed; the newest ones are.
const MAX_LISTED: usize = 1000;

/// The service; clones share the engine and the decode pool.
#[derive(Debug, Clone)]
pub struct InferenceApi {
    engine: Engine,
    pool: DecodePool,
    readiness: Readiness,
}

impl InferenceApi {
    pub fn new(engine: Engine, pool: DecodePool, readiness: Readiness) -> Self {
        Self { engine, pool, readiness }
    }

    async fn respond(
        &self,
        mut request: oip::ModelInferRequest,
        deadline: Option<Instant>,
    ) -> Result<oip::ModelInferResponse, Status> {
        let id = std::mem::take(&mut request.id);
        let params = infer_request(request)?;
        let deadline = earlier(deadline, params.timeout);
        let version = self.engine.served(&params.model, deadline).await?;
        let Manifest { height, width, .. } = *version.manifest();
        let tensor = params.tensor.check(ImageSize { height, width })?;
        let images = self.pool.work(tensor.cost(), move |_| tensor.read()).await??;
        let predicted = version.predict(images, deadline).await?;
        let outputs = params.outputs;
        let cost = cost(&predicted, &outputs);
        self.pool.work(cost, move |_| from_predictions(&predicted, &outputs, id)).await
    }

    /// The response to one request of a stream; an error is a response, too.
    async fn respond_in_stream(
        &self,
        request: oip::ModelInferRequest,
        deadline: Option<Instant>,
    ) -> oip::ModelStreamInferResponse {
        let mut failed = oip::ModelInferResponse {
            model_name: request.model_name.clone(),
            model_version: request.model_version.clone(),
            id: request.id.clone(),
            ..oip::ModelInferResponse::default()
        };
        let (error_message, response) = match self.respond(request, deadline).await {
            Ok(response) => (String::new(), response),
            Err(status) => {
                let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
                error_facts(&mut failed, status.code().into(), reason);
                (status.message().to_owned(), failed)
            }
        };
        oip::ModelStreamInferResponse { error_message, infer_response: Some(last_of_request(response)) }
    }

    /// The numbers of a model's newest versions, oldest first.
    async fn versions(&self, model: &ModelName) -> Result<Vec<Version>, Status> {
        let mut numbers = self.engine.registry().version_numbers(model).await?;
        let older = numbers.len().saturating_sub(MAX_LISTED);
        Ok(numbers.split_off(older))
    }

    /// The statistics of the versions that a request names.
    async fn statistics(&self, request: oip::ModelStatisticsRequest) -> Result<Vec<VersionStats>, Status> {
        let mut all = self.engine.statistics();
        if request.name.is_empty() && request.version.is_empty() {
            return Ok(all);
        }
        let requested = model_reference(("name", &request.name), ("version", &request.version))?;
        if request.version.is_empty() {
            all.retain(|statistics| statistics.model == requested.name);
            if !all.is_empty() {
                return Ok(all);
            }
        }
        let (model, version) = self.engine.registry().resolve(&requested).await?;
        let manifest = self.engine.registry().manifest(&model, version).await?;
        let its = |statistics: &VersionStats| statistics.model == model && statistics.version == version;
        let counted = all.into_iter().find(its);
        let none = VersionStats { model: manifest.model, version, stats: ModelStats::default() };
        Ok(vec![counted.unwrap_or(none)])
    }
}

#[tonic::async_trait]
impl GrpcInferenceService for InferenceApi {
    type ModelStreamInferStream = ResponseStream<oip::ModelStreamInferResponse>;

    async fn server_live(
        &self,
        _: Request<oip::ServerLiveRequest>,
    ) -> Result<Response<oip::ServerLiveResponse>, Status> {
        Ok(Response::new(oip::ServerLiveResponse { live: true }))
    }

    async fn server_ready(
        &self,
        _: Request<oip::ServerReadyRequest>,
    ) -> Result<Response<oip::ServerReadyResponse>, Status> {
        Ok(Response::new(oip::ServerReadyResponse { ready: self.readiness.predicts() }))
    }

    async fn model_ready(
        &self,
        request: Request<oip::ModelReadyRequest>,
    ) -> Result<Response<oip::ModelReadyResponse>, Status> {
        let deadline = CallContext::deadline_of(&request);
        let oip::ModelReadyRequest { name, version } = request.into_inner();
        let model = named_version(&name, &version)?;
        let ready = match self.engine.served(&model, deadline).await {
            Ok(_) => true,
            Err(error) if is_unready(&error) => false,
            Err(error) => return Err(error.into()),
        };
        Ok(Response::new(oip::ModelReadyResponse { ready }))
    }

    async fn server_metadata(
        &self,
        _: Request<oip::ServerMetadataRequest>,
    ) -> Result<Response<oip::ServerMetadataResponse>, Status> {
        Ok(Response::new(describe::server_metadata()))
    }

    async fn model_metadata(
        &self,
        request: Request<oip::ModelMetadataRequest>,
    ) -> Result<Response<oip::ModelMetadataResponse>, Status> {
        let oip::ModelMetadataRequest { name, version } = request.into_inner();
        let manifest = self.engine.version(&named_version(&name, &version)?).await?;
        let versions = self.versions(&manifest.model).await?;
        Ok(Response::new(describe::metadata(&manifest, versions)))
    }

    async fn model_infer(
        &self,
        request: Request<oip::ModelInferRequest>,
    ) -> Result<Response<oip::ModelInferResponse>, Status> {
        let deadline = CallContext::deadline_of(&request);
        self.respond(request.into_inner(), deadline).await.map(Response::new)
    }

    async fn model_stream_infer(
        &self,
        request: Request<Streaming<oip::ModelInferRequest>>,
    ) -> Result<Response<Self::ModelStreamInferStream>, Status> {
        let deadline = CallContext::deadline_of(&request);
        let service = self.clone();
        let respond = move |request| {
            let service = service.clone();
            async move { service.respond_in_stream(request, deadline).await }
        };
        let shutdown = self.readiness.shutdown().clone();
        Ok(Response::new(bidi_stream::handle_all(request.into_inner(), shutdown, respond)))
    }

    async fn model_config(
        &self,
        request: Request<oip::ModelConfigRequest>,
    ) -> Result<Response<oip::ModelConfigResponse>, Status> {
        let oip::ModelConfigRequest { name, version } = request.into_inner();
        let manifest = self.engine.version(&named_version(&name, &version)?).await?;
        let config = describe::config(&manifest, &self.engine.batching(), self.engine.on_gpu());
        Ok(Response::new(oip::ModelConfigResponse { config: Some(config) }))
    }

    async fn model_statistics(
        &self,
        request: Request<oip::ModelStatisticsRequest>,
    ) -> Result<Response<oip::ModelStatisticsResponse>, Status> {
        let statistics = self.statistics(request.into_inner()).await?;
        let model_stats = statistics.iter().map(describe::statistics).collect();
        Ok(Response::new(oip::ModelStatisticsResponse { model_stats }))
    }

    async fn repository_index(
        &self,
        request: Request<oip::RepositoryIndexRequest>,
    ) -> Result<Response<oip::RepositoryIndexResponse>, Status> {
        if !request.get_ref().repository_name.is_empty() {
            let message = "names a repository: leave it empty, because there is only one";
            return Err(FieldError::new("repository_name", message).into());
        }
        let mut models = Vec::new();
        for model in self.engine.registry().model_names().await? {
            let versions = self.versions(&model).await?.into_iter();
            models.extend(
                versions
                    .map(|version| describe::index(&model, version, self.engine.is_loaded(&model, version))),
            );
        }
        Ok(Response::new(oip::RepositoryIndexResponse { models }))
    }
}

/// The version that a request about one version names.
fn named_version(name: &str, version: &str) -> Result<ModelRef, FieldError> {
    model_reference(("name", name), ("version", version))
}

/// The deadline of the call or that of the request, whichever is earlier.
fn earlier(deadline: Option<Instant>, timeout: Option<Duration>) -> Option<Instant> {
    let of_request = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    deadline.into_iter().chain(of_request).min()
}

/// Whether an error means that the version does not exist or cannot predict now.
fn is_unready(error: &engine::Error) -> bool {
    use engine::Error as E;
    matches!(
        error,
        E::ModelNotFound(_)
            | E::VersionNotFound { .. }
            | E::AliasNotFound { .. }
            | E::Loading
            | E::Corrupt { .. }
            | E::UnknownFormat { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earlier_of_two_deadlines_applies() {
        let (soon, late) = (Duration::from_millis(1), Duration::from_secs(3600));
        let far = Instant::now() + late;
        assert_eq!(earlier(None, None), None);
        assert_eq!(earlier(Some(far), None), Some(far));
        assert!(earlier(Some(far), Some(soon)).unwrap() < far);
        assert_eq!(earlier(Some(far), Some(2 * late)), Some(far));
        assert!(earlier(None, Some(late)).is_some());
        assert_eq!(earlier(None, Some(Duration::MAX)), None);
    }
}
