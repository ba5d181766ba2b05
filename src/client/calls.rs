//! One method for each call of the contract that digitd's own command line makes.

use bytes::Bytes;
use futures::Stream;
use tonic::{Streaming, transport::Channel};

use super::{Client, Error, MAX_MESSAGE_BYTES};
use crate::pb::digitd::v1::{
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

/// Bytes of a file that go out in one message.
const PIECE: usize = 1 << 20;

/// Items of a page where all pages are asked for.
const LARGEST_PAGE: i32 = 1000;

impl Client {
    /// Asks a run to stop after its current batch; answers the run as it is now.
    pub async fn cancel_run(&self, run_id: &str) -> Result<Run, Error> {
        let request = CancelRunRequest { run_id: run_id.to_owned() };
        self.training().cancel_run(request).await?.into_inner().run.ok_or(Error::Incomplete("run"))
    }

    /// A run as it is now.
    pub async fn run(&self, run_id: &str) -> Result<Run, Error> {
        let request = GetRunRequest { run_id: run_id.to_owned() };
        self.training().get_run(request).await?.into_inner().run.ok_or(Error::Incomplete("run"))
    }

    /// A page of runs, newest first.
    pub async fn runs(&self, request: ListRunsRequest) -> Result<ListRunsResponse, Error> {
        Ok(self.training().list_runs(request).await?.into_inner())
    }

    /// Measures a version on a part of a data set.
    pub async fn evaluate(&self, request: EvaluateRequest) -> Result<EvaluateResponse, Error> {
        Ok(self.analysis().evaluate(request).await?.into_inner())
    }

    /// The same, while `look` hears how far it has come.
    pub async fn evaluate_watched(
        &self,
        request: EvaluateRequest,
        mut look: impl FnMut(EvaluateProgress),
    ) -> Result<EvaluateResponse, Error> {
        use evaluate_event::Event;
        let mut events = self.analysis().evaluate_stream(request).await?.into_inner();
        while let Some(event) = events.message().await? {
            match event.event {
                Some(Event::Progress(progress)) => look(progress),
                Some(Event::Finished(answer)) => return Ok(answer),
                None => {}
            }
        }
        Err(Error::Incomplete("evaluation"))
    }

    /// Shows a version layer by layer.
    pub async fn inspect(&self, request: InspectRequest) -> Result<InspectResponse, Error> {
        Ok(self.analysis().inspect(request).await?.into_inner())
    }

    /// The values of parameters, part by part.
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

    /// Compares two versions.
    pub async fn compare_versions(
        &self,
        request: CompareVersionsRequest,
    ) -> Result<CompareVersionsResponse, Error> {
        Ok(self.analysis().compare_versions(request).await?.into_inner())
    }

    /// Reads pictures; predictions come in their order.
    pub async fn predict(&self, request: PredictRequest) -> Result<PredictResponse, Error> {
        Ok(self.prediction().predict(request).await?.into_inner())
    }

    /// Reads pictures request after request; answers come in the order of the requests, and an error
    /// answers its own request alone.
    pub async fn predict_stream(
        &self,
        requests: impl Stream<Item = PredictStreamRequest> + Send + 'static,
    ) -> Result<Streaming<PredictStreamResponse>, Error> {
        Ok(self.prediction().predict_stream(requests).await?.into_inner())
    }

    /// All models, by name.
    pub async fn models(&self) -> Result<Vec<Model>, Error> {
        Ok(self.registry().list_models(ListModelsRequest {}).await?.into_inner().models)
    }

    /// A page of a model's versions, newest first.
    pub async fn versions(&self, request: ListVersionsRequest) -> Result<ListVersionsResponse, Error> {
        Ok(self.registry().list_versions(request).await?.into_inner())
    }

    /// One version with its network, request and metrics.
    pub async fn version(&self, request: GetVersionRequest) -> Result<ModelVersion, Error> {
        self.registry().get_version(request).await?.into_inner().version.ok_or(Error::Incomplete("version"))
    }

    /// Points an alias at a version.
    pub async fn set_alias(&self, request: SetAliasRequest) -> Result<AliasAssignment, Error> {
        let answer = self.registry().set_alias(request).await?.into_inner();
        answer.assignment.ok_or(Error::Incomplete("assignment"))
    }

    /// Everywhere that an alias pointed, newest first.
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

    /// Points an alias back at the version before.
    pub async fn rollback(&self, request: RollbackRequest) -> Result<AliasAssignment, Error> {
        let answer = self.registry().rollback(request).await?.into_inner();
        answer.assignment.ok_or(Error::Incomplete("assignment"))
    }

    /// Publishes a version of a file of weights.
    pub async fn import_version(
        &self,
        metadata: ImportMetadata,
        file: Vec<u8>,
    ) -> Result<ImportVersionResponse, Error> {
        use import_version_request::Part;
        let file = Bytes::from(file);
        let pieces = (0..file.len()).step_by(PIECE).map(move |start| {
            let end = file.len().min(start + PIECE);
            Part::Chunk(file.slice(start..end))
        });
        let parts = std::iter::once(Part::Metadata(metadata)).chain(pieces);
        let messages = futures::stream::iter(parts.map(|part| ImportVersionRequest { part: Some(part) }));
        Ok(self.registry().import_version(messages).await?.into_inner())
    }

    /// A version and its weights, as the registry keeps them.
    pub async fn export_version(
        &self,
        request: ExportVersionRequest,
    ) -> Result<(ModelVersion, Vec<u8>), Error> {
        use export_version_response::Part;
        let mut messages = self.registry().export_version(request).await?.into_inner();
        let (mut version, mut file) = (None, Vec::new());
        while let Some(message) = messages.message().await? {
            match message.part {
                Some(Part::Version(told)) => version = Some(told),
                Some(Part::Chunk(chunk)) => file.extend_from_slice(&chunk),
                None => {}
            }
        }
        Ok((version.ok_or(Error::Incomplete("version"))?, file))
    }

    /// Deletes a version that no alias points to.
    pub async fn delete_version(&self, model: &str, version: i32) -> Result<(), Error> {
        let request = DeleteVersionRequest { name: model.to_owned(), version };
        self.registry().delete_version(request).await?;
        Ok(())
    }

    pub(super) fn training(&self) -> TrainingServiceClient<Channel> {
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
