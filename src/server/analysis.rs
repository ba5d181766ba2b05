//! `AnalysisService`: evaluates a version, inspects the network of a version or of a run, and compares two
//! versions.

use prost::Message as _;
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::{
    convert::{
        analysis::{
            comparison::{compare_request, from_comparison},
            evaluation::{evaluate_request, from_evaluation},
            inspection::{InspectParams, OwnImage, from_inspection, inspect_request},
            parameters::{messages, parameters_request},
        },
        shared::images::{InputSpec, check_one},
    },
    decode_pool::DecodePool,
    evaluation_stream::{self, EvaluateStream},
    listener::peer,
    transfer::{self, ChunkStream, TransferLimit},
};
use crate::{
    data::ImageSize,
    engine::{Engine, EvaluationProgress, InspectInput, InspectJob, Target},
    ids::FieldError,
    pb::digitd::v1::{self, analysis_service_server::AnalysisService},
    registry::{ModelRef, VersionSelector},
};

/// The service; clones share the engine and the decode pool.
#[derive(Debug, Clone)]
pub struct AnalysisApi {
    engine: Engine,
    pool: DecodePool,
    /// Limits the callers that read values of parameters.
    transfers: TransferLimit,
}

impl AnalysisApi {
    pub fn new(engine: Engine, pool: DecodePool) -> Self {
        Self { engine, pool, transfers: TransferLimit::new("readings of parameters") }
    }

    /// Makes the caller's own image the input of the job. The version of the job is exact from here on: an
    /// alias that moves meanwhile cannot lead to a version with another image size.
    async fn set_image(&self, own: OwnImage, job: &mut InspectJob) -> Result<(), Status> {
        let spec = match &mut job.target {
            Target::Model(model) => {
                let manifest = self.engine.version(model).await?;
                let spec = InputSpec::of(&manifest);
                *model = ModelRef { name: manifest.model, which: VersionSelector::Version(manifest.version) };
                spec
            }
            Target::Run(run) => {
                let dataset = self.engine.run(*run).await?.config.dataset;
                let dims = self.engine.dataset_info(&dataset.name).await?.dims;
                let frame = ImageSize { height: dims.height, width: dims.width };
                InputSpec::new(frame, dataset.is_built_in())
            }
        };
        let image = check_one(own.image, own.normalization, spec)?;
        if job.needs_image() {
            job.input = InspectInput::Image(self.pool.read(image).await?.images.into_values());
        }
        Ok(())
    }
}

#[tonic::async_trait]
impl AnalysisService for AnalysisApi {
    type EvaluateStreamStream = EvaluateStream;
    type InspectParametersStream = ChunkStream<v1::InspectParametersResponse>;

    async fn evaluate(
        &self,
        request: Request<v1::EvaluateRequest>,
    ) -> Result<Response<v1::EvaluateResponse>, Status> {
        let from = peer(&request);
        let job = evaluate_request(request.into_inner(), from)?;
        // Nobody listens to the progress of this call.
        let (progress, _) = watch::channel(EvaluationProgress::default());
        Ok(Response::new(from_evaluation(self.engine.evaluate(job, progress).await?)))
    }

    async fn evaluate_stream(
        &self,
        request: Request<v1::EvaluateRequest>,
    ) -> Result<Response<EvaluateStream>, Status> {
        let from = peer(&request);
        let job = evaluate_request(request.into_inner(), from)?;
        Ok(Response::new(evaluation_stream::evaluate(self.engine.clone(), job)))
    }

    async fn inspect(
        &self,
        request: Request<v1::InspectRequest>,
    ) -> Result<Response<v1::InspectResponse>, Status> {
        let InspectParams { mut job, image, max_answer_bytes } = inspect_request(request.into_inner())?;
        if let Some(image) = image {
            self.set_image(image, &mut job).await?;
        }
        let response = from_inspection(self.engine.inspect(job).await?);
        check_size(response.encoded_len(), max_answer_bytes)?;
        Ok(Response::new(response))
    }

    async fn inspect_parameters(
        &self,
        request: Request<v1::InspectParametersRequest>,
    ) -> Result<Response<Self::InspectParametersStream>, Status> {
        let (job, slice) = parameters_request(request.into_inner())?;
        let held = self.transfers.begin()?;
        let messages = messages(self.engine.parameters(job).await?, slice)?;
        Ok(Response::new(transfer::in_chunks(messages, held)))
    }

    async fn compare_versions(
        &self,
        request: Request<v1::CompareVersionsRequest>,
    ) -> Result<Response<v1::CompareVersionsResponse>, Status> {
        let comparison = self.engine.compare(compare_request(request.into_inner())?).await?;
        Ok(Response::new(from_comparison(comparison)))
    }
}

/// Rejects a response that is larger than its caller accepts.
fn check_size(bytes: usize, most: usize) -> Result<(), FieldError> {
    if bytes <= most {
        return Ok(());
    }
    let message = format!(
        "is {most}, and the response would be {bytes} bytes: name fewer layers, channels or drawings, or raise \
         this, and the limit of your client with it"
    );
    Err(FieldError::new("max_answer_bytes", message))
}
