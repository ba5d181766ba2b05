//! `PredictionService`: predictions for images, one call at a time or as a stream of requests.

use std::time::Instant;

use tonic::{Request, Response, Status, Streaming};
use tonic_types::StatusExt;

use super::{
    bidi_stream::{self, ResponseStream},
    convert::{
        prediction::{check_listed, cost, from_predictions, predict_request},
        shared::images::{DecodedImages, InputSpec, check},
    },
    decode_pool::DecodePool,
    lifecycle::Shutdown,
    middleware::CallContext,
};
use crate::{
    engine::Engine,
    pb::digitd::v1::{
        self, predict_stream_response::Result as Outcome, prediction_service_server::PredictionService,
    },
    registry::Manifest,
};

/// The service; clones share the engine and the decode pool.
#[derive(Debug, Clone)]
pub struct PredictionApi {
    engine: Engine,
    pool: DecodePool,
    shutdown: Shutdown,
}

impl PredictionApi {
    pub fn new(engine: Engine, pool: DecodePool, shutdown: Shutdown) -> Self {
        Self { engine, pool, shutdown }
    }

    async fn respond(
        &self,
        request: v1::PredictRequest,
        deadline: Option<Instant>,
    ) -> Result<v1::PredictResponse, Status> {
        let params = predict_request(request)?;
        let version = self.engine.served(&params.model, deadline).await?;
        let Manifest { height, width, classes, .. } = *version.manifest();
        check_listed(&params, height * width, classes)?;
        let encoded = check(params.images, InputSpec::of(version.manifest()))?;
        let DecodedImages { images, qualities, pngs } = self.pool.read(encoded).await?;
        let predicted = version.predict(images, deadline).await?;
        let (top_k, cost) = (params.top_k, cost(&predicted));
        self.pool.work(cost, move |_| from_predictions(&predicted, top_k, &qualities, pngs)).await
    }

    /// The response to one request of a stream; an error is a response, too.
    async fn respond_in_stream(
        &self,
        request: v1::PredictStreamRequest,
        deadline: Option<Instant>,
    ) -> v1::PredictStreamResponse {
        let outcome = match self.respond(request.request.unwrap_or_default(), deadline).await {
            Ok(response) => Outcome::Response(response),
            Err(status) => Outcome::Error(v1::PredictError {
                code: status.code().into(),
                message: status.message().to_owned(),
                reason: status.get_details_error_info().map(|info| info.reason).unwrap_or_default(),
            }),
        };
        v1::PredictStreamResponse { request_id: request.request_id, result: Some(outcome) }
    }
}

#[tonic::async_trait]
impl PredictionService for PredictionApi {
    type PredictStreamStream = ResponseStream<v1::PredictStreamResponse>;

    async fn predict(
        &self,
        request: Request<v1::PredictRequest>,
    ) -> Result<Response<v1::PredictResponse>, Status> {
        let deadline = CallContext::deadline_of(&request);
        self.respond(request.into_inner(), deadline).await.map(Response::new)
    }

    async fn predict_stream(
        &self,
        request: Request<Streaming<v1::PredictStreamRequest>>,
    ) -> Result<Response<Self::PredictStreamStream>, Status> {
        let deadline = CallContext::deadline_of(&request);
        let service = self.clone();
        let respond = move |request| {
            let service = service.clone();
            async move { service.respond_in_stream(request, deadline).await }
        };
        Ok(Response::new(bidi_stream::handle_all(request.into_inner(), self.shutdown.clone(), respond)))
    }
}
