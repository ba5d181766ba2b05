//! `inference.GRPCInferenceService`: the Open Inference Protocol over the same engine, readers and
//! queues as `PredictionService`.

use std::time::{Duration, Instant};

use tonic::{Request, Response, Status, Streaming};
use tonic_types::StatusExt;

use super::{
    call::CallContext,
    convert::{
        Invalid,
        inference::{
            answer::{error_facts, from_predicted, last_of_request, weight},
            describe,
            question::infer_request,
            reference,
        },
    },
    dialogue::{self, Answers},
    health::Readiness,
    reader::Reader,
    registry::failed,
};
use crate::{
    data::Frame,
    engine::{self, Engine, Figures, Statistics},
    ids::{ModelName, Version},
    pb::inference::{self as oip, grpc_inference_service_server::GrpcInferenceService},
    registry::{Manifest, ModelRef},
};

/// Versions of a model that are listed, the newest.
const MOST_LISTED: usize = 1000;

/// The service; clones share the engine and the readers.
#[derive(Debug, Clone)]
pub struct Inference {
    engine: Engine,
    reader: Reader,
    readiness: Readiness,
}

impl Inference {
    pub fn new(engine: Engine, reader: Reader, readiness: Readiness) -> Self {
        Self { engine, reader, readiness }
    }

    async fn answer(
        &self,
        mut request: oip::ModelInferRequest,
        deadline: Option<Instant>,
    ) -> Result<oip::ModelInferResponse, Status> {
        let id = std::mem::take(&mut request.id);
        let question = infer_request(request)?;
        let deadline = earlier(deadline, question.timeout);
        let version = self.engine.served(&question.model, deadline).await?;
        let Manifest { height, width, .. } = *version.manifest();
        let tensor = question.tensor.check(Frame { height, width })?;
        let pictures = self.reader.work(tensor.weight(), move |_| tensor.read()).await??;
        let predicted = version.predict(pictures, deadline).await?;
        let wanted = question.wanted;
        let weight = weight(&predicted, &wanted);
        self.reader.work(weight, move |_| from_predicted(&predicted, &wanted, id)).await
    }

    /// The answer to one request of a stream; an error is an answer too.
    async fn answer_one(
        &self,
        request: oip::ModelInferRequest,
        deadline: Option<Instant>,
    ) -> oip::ModelStreamInferResponse {
        let mut unanswered = oip::ModelInferResponse {
            model_name: request.model_name.clone(),
            model_version: request.model_version.clone(),
            id: request.id.clone(),
            ..oip::ModelInferResponse::default()
        };
        let (error_message, response) = match self.answer(request, deadline).await {
            Ok(response) => (String::new(), response),
            Err(status) => {
                let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
                error_facts(&mut unanswered, status.code().into(), reason);
                (status.message().to_owned(), unanswered)
            }
        };
        oip::ModelStreamInferResponse { error_message, infer_response: Some(last_of_request(response)) }
    }

    /// The numbers of a model's newest versions, oldest first.
    async fn versions(&self, model: &ModelName) -> Result<Vec<Version>, Status> {
        let mut numbers = self.engine.registry().version_numbers(model).await.map_err(failed)?;
        let older = numbers.len().saturating_sub(MOST_LISTED);
        Ok(numbers.split_off(older))
    }

    /// What the versions did that a request asks for.
    async fn statistics(&self, request: oip::ModelStatisticsRequest) -> Result<Vec<Statistics>, Status> {
        let mut all = self.engine.statistics();
        if request.name.is_empty() && request.version.is_empty() {
            return Ok(all);
        }
        let asked = reference(("name", &request.name), ("version", &request.version))?;
        if request.version.is_empty() {
            all.retain(|statistics| statistics.model == asked.name);
            if !all.is_empty() {
                return Ok(all);
            }
        }
        let (model, version) = self.engine.registry().resolve(&asked).await.map_err(failed)?;
        let manifest = self.engine.registry().manifest(&model, version).await.map_err(failed)?;
        let its = |statistics: &Statistics| statistics.model == model && statistics.version == version;
        let counted = all.into_iter().find(its);
        let none = Statistics { model: manifest.model, version, figures: Figures::default() };
        Ok(vec![counted.unwrap_or(none)])
    }
}

#[tonic::async_trait]
impl GrpcInferenceService for Inference {
    type ModelStreamInferStream = Answers<oip::ModelStreamInferResponse>;

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
        let model = one(&name, &version)?;
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
        let manifest = self.engine.version(&one(&name, &version)?).await?;
        let versions = self.versions(&manifest.model).await?;
        Ok(Response::new(describe::metadata(&manifest, versions)))
    }

    async fn model_infer(
        &self,
        request: Request<oip::ModelInferRequest>,
    ) -> Result<Response<oip::ModelInferResponse>, Status> {
        let deadline = CallContext::deadline_of(&request);
        self.answer(request.into_inner(), deadline).await.map(Response::new)
    }

    async fn model_stream_infer(
        &self,
        request: Request<Streaming<oip::ModelInferRequest>>,
    ) -> Result<Response<Self::ModelStreamInferStream>, Status> {
        let deadline = CallContext::deadline_of(&request);
        let service = self.clone();
        let answer = move |request| {
            let service = service.clone();
            async move { service.answer_one(request, deadline).await }
        };
        let life = self.readiness.life().clone();
        Ok(Response::new(dialogue::answer_all(request.into_inner(), life, answer)))
    }

    async fn model_config(
        &self,
        request: Request<oip::ModelConfigRequest>,
    ) -> Result<Response<oip::ModelConfigResponse>, Status> {
        let oip::ModelConfigRequest { name, version } = request.into_inner();
        let manifest = self.engine.version(&one(&name, &version)?).await?;
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
            let message = "names a repository: leave it empty, there is one";
            return Err(Invalid::new("repository_name", message).into());
        }
        let mut models = Vec::new();
        for model in self.engine.registry().model_names().await.map_err(failed)? {
            let versions = self.versions(&model).await?.into_iter();
            models.extend(
                versions
                    .map(|version| describe::index(&model, version, self.engine.is_loaded(&model, version))),
            );
        }
        Ok(Response::new(oip::RepositoryIndexResponse { models }))
    }
}

/// The version that a request about one names.
fn one(name: &str, version: &str) -> Result<ModelRef, Invalid> {
    reference(("name", name), ("version", version))
}

/// The call's deadline, or that of the request where it comes before.
fn earlier(deadline: Option<Instant>, timeout: Option<Duration>) -> Option<Instant> {
    let own = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    deadline.into_iter().chain(own).min()
}

/// Whether an error means that there is no such version, or none that answers now.
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
    fn of_two_deadlines_the_earlier_holds() {
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
