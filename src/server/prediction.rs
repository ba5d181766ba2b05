//! `PredictionService`: pictures are read, one call at a time or as a stream of questions.

use std::time::Instant;

use tonic::{Request, Response, Status, Streaming};
use tonic_types::StatusExt;

use super::{
    call::CallContext,
    convert::{
        picture::{Reads, Seen, check},
        prediction::{check_listed, from_predicted, predict_request, weight},
    },
    dialogue::{self, Answers},
    phase::Life,
    reader::Reader,
};
use crate::{
    engine::Engine,
    pb::digitd::v1::{
        self, predict_stream_response::Result as Outcome, prediction_service_server::PredictionService,
    },
    registry::Manifest,
};

/// The service; clones share the engine and the decoders.
#[derive(Debug, Clone)]
pub struct Prediction {
    engine: Engine,
    reader: Reader,
    life: Life,
}

impl Prediction {
    pub fn new(engine: Engine, reader: Reader, life: Life) -> Self {
        Self { engine, reader, life }
    }

    async fn answer(
        &self,
        request: v1::PredictRequest,
        deadline: Option<Instant>,
    ) -> Result<v1::PredictResponse, Status> {
        let question = predict_request(request)?;
        let version = self.engine.served(&question.model, deadline).await?;
        let Manifest { height, width, classes, .. } = *version.manifest();
        check_listed(&question, height * width, classes)?;
        let pictures = check(question.pictures, Reads::of(version.manifest()))?;
        let Seen { pictures, qualities, pngs } = self.reader.read(pictures).await?;
        let predicted = version.predict(pictures, deadline).await?;
        let (top_k, weight) = (question.top_k, weight(&predicted));
        self.reader.work(weight, move |_| from_predicted(&predicted, top_k, &qualities, pngs)).await
    }

    /// The answer to one question of a stream; an error is an answer too.
    async fn answer_one(
        &self,
        question: v1::PredictStreamRequest,
        deadline: Option<Instant>,
    ) -> v1::PredictStreamResponse {
        let outcome = match self.answer(question.request.unwrap_or_default(), deadline).await {
            Ok(response) => Outcome::Response(response),
            Err(status) => Outcome::Error(v1::PredictError {
                code: status.code().into(),
                message: status.message().to_owned(),
                reason: status.get_details_error_info().map(|info| info.reason).unwrap_or_default(),
            }),
        };
        v1::PredictStreamResponse { request_id: question.request_id, result: Some(outcome) }
    }
}

#[tonic::async_trait]
impl PredictionService for Prediction {
    type PredictStreamStream = Answers<v1::PredictStreamResponse>;

    async fn predict(
        &self,
        request: Request<v1::PredictRequest>,
    ) -> Result<Response<v1::PredictResponse>, Status> {
        let deadline = CallContext::deadline_of(&request);
        self.answer(request.into_inner(), deadline).await.map(Response::new)
    }

    async fn predict_stream(
        &self,
        request: Request<Streaming<v1::PredictStreamRequest>>,
    ) -> Result<Response<Self::PredictStreamStream>, Status> {
        let deadline = CallContext::deadline_of(&request);
        let service = self.clone();
        let answer = move |question| {
            let service = service.clone();
            async move { service.answer_one(question, deadline).await }
        };
        Ok(Response::new(dialogue::answer_all(request.into_inner(), self.life.clone(), answer)))
    }
}
