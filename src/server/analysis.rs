//! `AnalysisService`: a version is measured, and shown layer by layer.

use tonic::{Request, Response, Status};

use super::{
    convert::analysis::{Subject, evaluate_request, from_evaluated, from_inspected, inspect_request},
    reader::Reader,
};
use crate::{
    engine::{Depth, Engine, InspectInput, InspectJob, Pictures},
    pb::digitd::v1::{self, analysis_service_server::AnalysisService},
};

/// The service; clones share the engine and the decoders.
#[derive(Debug, Clone)]
pub struct Analysis {
    engine: Engine,
    reader: Reader,
}

impl Analysis {
    pub fn new(engine: Engine, reader: Reader) -> Self {
        Self { engine, reader }
    }

    async fn input(&self, subject: Subject, depth: &Depth) -> Result<InspectInput, Status> {
        match (subject, depth) {
            (Subject::Stored(input), _) => Ok(input),
            // Shapes do not depend on the picture.
            (Subject::Own(_), Depth::Shapes) => Ok(InspectInput::Default),
            (Subject::Own(picture), Depth::Contents { .. }) => {
                Ok(InspectInput::Picture(match self.reader.read(picture).await? {
                    Pictures::Floats(values) => values,
                    Pictures::Bytes(bytes) => bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect(),
                }))
            }
        }
    }
}

#[tonic::async_trait]
impl AnalysisService for Analysis {
    async fn evaluate(
        &self,
        request: Request<v1::EvaluateRequest>,
    ) -> Result<Response<v1::EvaluateResponse>, Status> {
        let evaluated = self.engine.evaluate(evaluate_request(request.into_inner())?).await?;
        Ok(Response::new(from_evaluated(&evaluated)))
    }

    async fn inspect(
        &self,
        request: Request<v1::InspectRequest>,
    ) -> Result<Response<v1::InspectResponse>, Status> {
        let asked = inspect_request(request.into_inner())?;
        let input = self.input(asked.input, &asked.depth).await?;
        let job = InspectJob { model: asked.model, input, batch_size: asked.batch_size, depth: asked.depth };
        Ok(Response::new(from_inspected(self.engine.inspect(job).await?)))
    }
}
