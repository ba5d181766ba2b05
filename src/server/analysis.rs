//! `AnalysisService`: a version is measured, and shown layer by layer.

use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::{
    convert::{
        analysis::{Subject, from_inspected, inspect_request},
        evaluation::{evaluate_request, from_evaluated},
        picture::{Reads, check_one},
    },
    evaluation::{self, EvaluateStream},
    reader::Reader,
};
use crate::{
    engine::{Depth, Engine, InspectInput, InspectJob, Progress},
    pb::digitd::v1::{self, analysis_service_server::AnalysisService},
    registry::{ModelRef, Which},
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

    /// The picture that is asked for, as the version reads it. From here on `model` is exact: an
    /// alias that moves meanwhile leads to no version of another size.
    async fn input(
        &self,
        subject: Subject,
        model: &mut ModelRef,
        depth: &Depth,
    ) -> Result<InspectInput, Status> {
        let (image, normalization) = match subject {
            Subject::Stored(input) => return Ok(input),
            Subject::Own { image, normalization } => (image, normalization),
        };
        let manifest = self.engine.version(model).await?;
        let picture = check_one(image, normalization, Reads::of(&manifest))?;
        *model = ModelRef { name: manifest.model, which: Which::Version(manifest.version) };
        match depth {
            // Shapes do not depend on the picture.
            Depth::Shapes => Ok(InspectInput::Default),
            Depth::Contents { .. } => {
                Ok(InspectInput::Picture(self.reader.read(picture).await?.pictures.into_values()))
            }
        }
    }
}

#[tonic::async_trait]
impl AnalysisService for Analysis {
    type EvaluateStreamStream = EvaluateStream;

    async fn evaluate(
        &self,
        request: Request<v1::EvaluateRequest>,
    ) -> Result<Response<v1::EvaluateResponse>, Status> {
        let from = request.remote_addr();
        let job = evaluate_request(request.into_inner(), from)?;
        // Nobody listens to its progress.
        let (tell, _) = watch::channel(Progress::default());
        Ok(Response::new(from_evaluated(self.engine.evaluate(job, tell).await?)))
    }

    async fn evaluate_stream(
        &self,
        request: Request<v1::EvaluateRequest>,
    ) -> Result<Response<EvaluateStream>, Status> {
        let from = request.remote_addr();
        let job = evaluate_request(request.into_inner(), from)?;
        Ok(Response::new(evaluation::evaluate(self.engine.clone(), job)))
    }

    async fn inspect(
        &self,
        request: Request<v1::InspectRequest>,
    ) -> Result<Response<v1::InspectResponse>, Status> {
        let asked = inspect_request(request.into_inner())?;
        let mut model = asked.model;
        let input = self.input(asked.input, &mut model, &asked.depth).await?;
        let job = InspectJob { model, input, batch_size: asked.batch_size, depth: asked.depth };
        Ok(Response::new(from_inspected(self.engine.inspect(job).await?)))
    }
}
