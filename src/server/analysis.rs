//! `AnalysisService`: a version is measured, and shown layer by layer, as is a run that trains; two
//! versions are compared.

use prost::Message as _;
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::{
    convert::{
        Invalid,
        comparison::{compare_request, from_compared},
        evaluation::{evaluate_request, from_evaluated},
        inspect::{Subject, from_inspected, inspect_request},
        parameters::{messages, parameters_request},
        picture::{Reads, check_one},
    },
    evaluation::{self, EvaluateStream},
    reader::Reader,
    transfer::{self, Pieces, Transfers},
};
use crate::{
    data::Frame,
    engine::{Engine, InspectInput, InspectJob, Progress, Target},
    pb::digitd::v1::{self, analysis_service_server::AnalysisService},
    registry::{ModelRef, Which},
};

/// The service; clones share the engine and the decoders.
#[derive(Debug, Clone)]
pub struct Analysis {
    engine: Engine,
    reader: Reader,
    /// Of callers who take values of parameters.
    transfers: Transfers,
}

impl Analysis {
    pub fn new(engine: Engine, reader: Reader) -> Self {
        Self { engine, reader, transfers: Transfers::new("readings of parameters") }
    }

    /// The picture that is asked for, as the network reads it. From here on a version is exact: an
    /// alias that moves meanwhile leads to no version of another size.
    async fn input(&self, subject: Subject, job: &mut InspectJob) -> Result<(), Status> {
        let (image, normalization) = match subject {
            Subject::Stored(input) => {
                job.input = input;
                return Ok(());
            }
            Subject::Own { image, normalization } => (image, normalization),
        };
        let reads = match &mut job.target {
            Target::Model(model) => {
                let manifest = self.engine.version(model).await?;
                let reads = Reads::of(&manifest);
                *model = ModelRef { name: manifest.model, which: Which::Version(manifest.version) };
                reads
            }
            Target::Run(run) => {
                let dataset = self.engine.run(*run).await?.config.dataset;
                let dims = self.engine.dataset_facts(&dataset.name).await?.dims;
                let frame = Frame { height: dims.height, width: dims.width };
                Reads::like(frame, dataset.is_built_in())
            }
        };
        let picture = check_one(image, normalization, reads)?;
        if job.needs_picture() {
            job.input = InspectInput::Picture(self.reader.read(picture).await?.pictures.into_values());
        }
        Ok(())
    }
}

#[tonic::async_trait]
impl AnalysisService for Analysis {
    type EvaluateStreamStream = EvaluateStream;
    type InspectParametersStream = Pieces<v1::InspectParametersResponse>;

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
        let mut job = InspectJob {
            target: asked.target,
            input: InspectInput::Default,
            batch_size: asked.batch_size,
            depth: asked.depth,
            study: asked.study,
            health: asked.health,
        };
        self.input(asked.input, &mut job).await?;
        let answer = from_inspected(self.engine.inspect(job).await?);
        check_size(answer.encoded_len(), asked.max_answer_bytes)?;
        Ok(Response::new(answer))
    }

    async fn inspect_parameters(
        &self,
        request: Request<v1::InspectParametersRequest>,
    ) -> Result<Response<Self::InspectParametersStream>, Status> {
        let asked = parameters_request(request.into_inner())?;
        let held = self.transfers.begin()?;
        let messages = messages(self.engine.parameters(asked.job).await?, asked.part)?;
        Ok(Response::new(transfer::in_pieces(messages, held)))
    }

    async fn compare_versions(
        &self,
        request: Request<v1::CompareVersionsRequest>,
    ) -> Result<Response<v1::CompareVersionsResponse>, Status> {
        let compared = self.engine.compare(compare_request(request.into_inner())?).await?;
        Ok(Response::new(from_compared(compared)))
    }
}

/// An answer that its caller could not take is none.
fn check_size(bytes: usize, most: usize) -> Result<(), Invalid> {
    if bytes <= most {
        return Ok(());
    }
    let message = format!(
        "is {most}, and the answer would be {bytes} bytes: name fewer layers, channels or drawings, or raise \
         this, and the limit of your client with it"
    );
    Err(Invalid::new("max_answer_bytes", message))
}
