//! One method for each call of the contract, but for the two that stream the events of a run.
//!
//! Every method errors with [`Error::Refused`] when the server responds with a status that is not OK, or
//! when the connection breaks; the comments of the services in `proto/` name the reasons.

use bytes::Bytes;
use tokio_stream::Stream;
use tonic::{Streaming, transport::Channel};

use crate::v1::{
    AliasAssignment, CancelRunRequest, CompareVersionsRequest, CompareVersionsResponse, DeleteVersionRequest,
    EvaluateProgress, EvaluateRequest, EvaluateResponse, ExportVersionRequest, GetRunRequest,
    GetVersionRequest, ImportMetadata, ImportVersionRequest, ImportVersionResponse, InspectParametersRequest,
    InspectParametersResponse, InspectRequest, InspectResponse, ListAliasHistoryRequest, ListModelsRequest,
    ListRunsRequest, ListRunsResponse, ListVersionsRequest, ListVersionsResponse, Model, ModelVersion,
    PredictRequest, PredictResponse, PredictStreamRequest, PredictStreamResponse, RollbackRequest, Run,
    SetAliasRequest, analysis_service_client::AnalysisServiceClient, evaluate_event, export_version_response,
    import_version_request, prediction_service_client::PredictionServiceClient,
    registry_service_client::RegistryServiceClient, training_service_client::TrainingServiceClient,
};
use crate::{Client, Error, MAX_MESSAGE_BYTES};

/// Bytes of a file in one message of an upload.
const CHUNK_BYTES: usize = 1 << 20;

/// Items of a page where all pages are requested.
const LARGEST_PAGE: i32 = 1000;

impl Client {
    /// Asks a run to stop after its current batch and to keep a checkpoint. Returns the run as it is now;
    /// one that has ended stays as it is.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] when there is no such run, or when it trains at another server of the same store.
    pub async fn cancel_run(&self, run_id: &str) -> Result<Run, Error> {
        let request = CancelRunRequest { run_id: run_id.to_owned() };
        self.training().cancel_run(request).await?.into_inner().run.ok_or(Error::Incomplete("run"))
    }

    /// A run's state, its request with every default filled in, and its progress.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] when there is no such run.
    pub async fn run(&self, run_id: &str) -> Result<Run, Error> {
        let request = GetRunRequest { run_id: run_id.to_owned() };
        self.training().get_run(request).await?.into_inner().run.ok_or(Error::Incomplete("run"))
    }

    /// One page of runs, newest first. `next_page_token` of the response requests the page after it.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] when the page's size or token is invalid.
    pub async fn runs(&self, request: ListRunsRequest) -> Result<ListRunsResponse, Error> {
        Ok(self.training().list_runs(request).await?.into_inner())
    }

    /// Measures a version on one split of a data set.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] when the version or the data set does not exist, or when a metric is below what
    /// the request requires (`REQUIREMENT_NOT_MET`).
    pub async fn evaluate(&self, request: EvaluateRequest) -> Result<EvaluateResponse, Error> {
        Ok(self.analysis().evaluate(request).await?.into_inner())
    }

    /// The same as [`evaluate`](Self::evaluate), calling `report` with the progress on the way. Dropping
    /// the future stops the evaluation.
    ///
    /// # Errors
    ///
    /// As [`evaluate`](Self::evaluate).
    pub async fn evaluate_with_progress(
        &self,
        request: EvaluateRequest,
        mut report: impl FnMut(EvaluateProgress),
    ) -> Result<EvaluateResponse, Error> {
        use evaluate_event::Event;
        let mut events = self.analysis().evaluate_stream(request).await?.into_inner();
        while let Some(event) = events.message().await? {
            match event.event {
                Some(Event::Progress(progress)) => report(progress),
                Some(Event::Finished(response)) => return Ok(response),
                None => {}
            }
        }
        Err(Error::Incomplete("evaluation"))
    }

    /// Shows a version, or a run as it trains, layer by layer: shapes and parameters, and on request what the
    /// layers hold, attributions, findings and drawings.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] when the version, run, layer or image does not exist.
    pub async fn inspect(&self, request: InspectRequest) -> Result<InspectResponse, Error> {
        Ok(self.analysis().inspect(request).await?.into_inner())
    }

    /// The exact values of parameters, in parts of at most a megabyte, parameter after parameter.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] when the version, run or parameter does not exist.
    pub async fn inspect_parameters(
        &self,
        request: InspectParametersRequest,
    ) -> Result<Vec<InspectParametersResponse>, Error> {
        let mut messages = self.analysis().inspect_parameters(request).await?.into_inner();
        let mut parts = Vec::new();
        while let Some(message) = messages.message().await? {
            parts.push(message);
        }
        Ok(parts)
    }

    /// Compares two versions: their parameters, the outputs of their layers, their predictions.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] when one does not exist, or when the two read images of different sizes or
    /// have different numbers of classes.
    pub async fn compare_versions(
        &self,
        request: CompareVersionsRequest,
    ) -> Result<CompareVersionsResponse, Error> {
        Ok(self.analysis().compare_versions(request).await?.into_inner())
    }

    /// Classifies images, 1 to 16 384 in a request; the predictions are in the order of the images.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] when the version does not exist, when an image cannot be decoded or has another
    /// size than the version reads, and when the server is overloaded (`RESOURCE_EXHAUSTED`).
    pub async fn predict(&self, request: PredictRequest) -> Result<PredictResponse, Error> {
        Ok(self.prediction().predict(request).await?.into_inner())
    }

    /// Classifies images request after request. The responses are in the order of the requests, and an error
    /// in one request leaves the others alone.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] when the stream cannot be opened.
    pub async fn predict_stream(
        &self,
        requests: impl Stream<Item = PredictStreamRequest> + Send + 'static,
    ) -> Result<Streaming<PredictStreamResponse>, Error> {
        Ok(self.prediction().predict_stream(requests).await?.into_inner())
    }

    /// All models, in name order.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] when the server cannot read its store.
    pub async fn models(&self) -> Result<Vec<Model>, Error> {
        Ok(self.registry().list_models(ListModelsRequest {}).await?.into_inner().models)
    }

    /// One page of a model's versions, newest first. `next_page_token` of the response requests the page after
    /// it.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] when the model does not exist.
    pub async fn versions(&self, request: ListVersionsRequest) -> Result<ListVersionsResponse, Error> {
        Ok(self.registry().list_versions(request).await?.into_inner())
    }

    /// One version with its layers, the request of its run, and its metrics.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] when the version or alias does not exist.
    pub async fn version(&self, request: GetVersionRequest) -> Result<ModelVersion, Error> {
        self.registry().get_version(request).await?.into_inner().version.ok_or(Error::Incomplete("version"))
    }

    /// Points an alias at a version and returns the assignment that holds then.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] when the version does not exist, when the alias has moved from the expected version
    /// (`ALIAS_MOVED`), or when a measured metric is below what the request requires (`REQUIREMENT_NOT_MET`).
    pub async fn set_alias(&self, request: SetAliasRequest) -> Result<AliasAssignment, Error> {
        let response = self.registry().set_alias(request).await?.into_inner();
        response.assignment.ok_or(Error::Incomplete("assignment"))
    }

    /// Every assignment of an alias, newest first. An empty `model` means `digits`.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] when the alias was never set.
    pub async fn alias_history(&self, model: &str, alias: &str) -> Result<Vec<AliasAssignment>, Error> {
        let (name, alias) = (model.to_owned(), alias.to_owned());
        let mut request =
            ListAliasHistoryRequest { name, alias, page_size: Some(LARGEST_PAGE), page_token: String::new() };
        let mut all = Vec::new();
        loop {
            let page = self.registry().list_alias_history(request.clone()).await?.into_inner();
            all.extend(page.assignments);
            if page.next_page_token.is_empty() {
                return Ok(all);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Points an alias back at the version before and returns the assignment that was made.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] when the alias never pointed elsewhere (`NOTHING_TO_ROLL_BACK`).
    pub async fn rollback(&self, request: RollbackRequest) -> Result<AliasAssignment, Error> {
        let response = self.registry().rollback(request).await?.into_inner();
        response.assignment.ok_or(Error::Incomplete("assignment"))
    }

    /// Publishes a version from `file`, its weights as safetensors: at most 80 MB, which go out in chunks of
    /// 1 MiB.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] when names, shapes, precision or values do not fit the network.
    pub async fn import_version(
        &self,
        metadata: ImportMetadata,
        file: impl Into<Bytes>,
    ) -> Result<ImportVersionResponse, Error> {
        use import_version_request::Part;
        let file = file.into();
        let chunks = (0..file.len()).step_by(CHUNK_BYTES).map(move |start| {
            let end = file.len().min(start + CHUNK_BYTES);
            Part::Chunk(file.slice(start..end))
        });
        let parts = std::iter::once(Part::Metadata(metadata)).chain(chunks);
        let messages = tokio_stream::iter(parts.map(|part| ImportVersionRequest { part: Some(part) }));
        Ok(self.registry().import_version(messages).await?.into_inner())
    }

    /// A version and its file: the weights as safetensors, or the network as ONNX.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] when the version does not exist, [`Error::Incomplete`] when the server sends the
    /// file without it.
    pub async fn export_version(
        &self,
        request: ExportVersionRequest,
    ) -> Result<(ModelVersion, Vec<u8>), Error> {
        use export_version_response::Part;
        let mut messages = self.registry().export_version(request).await?.into_inner();
        let (mut version, mut file) = (None, Vec::new());
        while let Some(message) = messages.message().await? {
            match message.part {
                Some(Part::Version(exported)) => version = Some(exported),
                Some(Part::Chunk(chunk)) => file.extend_from_slice(&chunk),
                None => {}
            }
        }
        Ok((version.ok_or(Error::Incomplete("version"))?, file))
    }

    /// Deletes a version that no alias points to. Its number is not used again.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] when the version does not exist, or while an alias points to it
    /// (`VERSION_ALIASED`).
    pub async fn delete_version(&self, model: &str, version: i32) -> Result<(), Error> {
        let request = DeleteVersionRequest { name: model.to_owned(), version };
        self.registry().delete_version(request).await?;
        Ok(())
    }

    pub(crate) fn training(&self) -> TrainingServiceClient<Channel> {
        TrainingServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    fn analysis(&self) -> AnalysisServiceClient<Channel> {
        AnalysisServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    fn prediction(&self) -> PredictionServiceClient<Channel> {
        PredictionServiceClient::new(self.channel.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    fn registry(&self) -> RegistryServiceClient<Channel> {
        RegistryServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }
}
