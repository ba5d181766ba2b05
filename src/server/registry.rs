//! `RegistryService`: lists models, versions and aliases, moves aliases, deletes versions, and exports and
//! imports weights.

use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

use super::{
    convert::{
        analysis::evaluation::gated_alias,
        registry::{
            alias::{expected, from_assignment, note},
            import::{from_imported_version, import_job},
            version::{export_version, from_manifest, from_summary, get_version},
        },
        shared::{
            enums::{ContractEnum, ExportFormat},
            page::{alias_page, alias_token, version_page, version_token},
            reference::{alias, name, version},
        },
    },
    listener::peer,
    onnx,
    transfer::{self, ExportStream, TransferLimit},
};
use crate::{
    engine::{Engine, EvaluationProgress, Promotion},
    pb::digitd::v1::{self, registry_service_server::RegistryService},
    registry::AliasUpdate,
};

/// The service; clones share the registry.
#[derive(Debug, Clone)]
pub struct RegistryApi {
    engine: Engine,
    transfers: TransferLimit,
}

impl RegistryApi {
    pub fn new(engine: Engine) -> Self {
        Self { engine, transfers: TransferLimit::new("imports and exports") }
    }
}

#[tonic::async_trait]
impl RegistryService for RegistryApi {
    type ExportVersionStream = ExportStream;

    async fn list_models(
        &self,
        _: Request<v1::ListModelsRequest>,
    ) -> Result<Response<v1::ListModelsResponse>, Status> {
        let models = self.engine.registry().models().await?;
        Ok(Response::new(v1::ListModelsResponse { models: models.into_iter().map(from_summary).collect() }))
    }

    async fn list_versions(
        &self,
        request: Request<v1::ListVersionsRequest>,
    ) -> Result<Response<v1::ListVersionsResponse>, Status> {
        let request = request.into_inner();
        let (model, page) = (name("name", &request.name)?, version_page(&request)?);
        let registry = self.engine.registry();
        let page = registry.versions(&model, page).await?;
        let aliases = registry.aliases(&model).await?;
        let last = page.items.last().filter(|_| page.more);
        let next_page_token = version_token(last.map(|manifest| manifest.version));
        let versions = page.items.iter().map(|manifest| from_manifest(manifest, &aliases)).collect();
        Ok(Response::new(v1::ListVersionsResponse { versions, next_page_token }))
    }

    async fn get_version(
        &self,
        request: Request<v1::GetVersionRequest>,
    ) -> Result<Response<v1::GetVersionResponse>, Status> {
        let reference = get_version(request.into_inner())?;
        let registry = self.engine.registry();
        let (model, version) = registry.resolve(&reference).await?;
        let manifest = registry.manifest(&model, version).await?;
        let aliases = registry.aliases(&model).await?;
        Ok(Response::new(v1::GetVersionResponse { version: Some(from_manifest(&manifest, &aliases)) }))
    }

    async fn set_alias(
        &self,
        request: Request<v1::SetAliasRequest>,
    ) -> Result<Response<v1::SetAliasResponse>, Status> {
        let (from, request) = (peer(&request), request.into_inner());
        let (model, version) = (name("name", &request.name)?, version("version", request.version)?);
        let promotion = Promotion {
            alias: alias("alias", &request.alias)?,
            expected: expected("expected_version", request.expected_version)?,
            note: note(request.by.clone(), request.reason.clone(), from),
        };
        let assignment = match gated_alias(&request, (&model, version), &promotion)? {
            Some(job) => {
                self.engine.evaluate(job, watch::channel(EvaluationProgress::default()).0).await?.promoted
            }
            None => {
                let Promotion { alias, expected, note } = promotion;
                let to = AliasUpdate { version, expected, note };
                Some(self.engine.registry().set_alias(&model, &alias, to).await?)
            }
        };
        Ok(Response::new(v1::SetAliasResponse { assignment: assignment.map(from_assignment) }))
    }

    async fn list_alias_history(
        &self,
        request: Request<v1::ListAliasHistoryRequest>,
    ) -> Result<Response<v1::ListAliasHistoryResponse>, Status> {
        let request = request.into_inner();
        let (model, alias) = (name("name", &request.name)?, alias("alias", &request.alias)?);
        let page = alias_page(&request)?;
        let page = self.engine.registry().alias_page(&model, &alias, page).await?;
        let last = page.items.last().filter(|_| page.more);
        let next_page_token = alias_token(last.map(|assignment| assignment.number));
        let assignments = page.items.into_iter().map(from_assignment).collect();
        Ok(Response::new(v1::ListAliasHistoryResponse { assignments, next_page_token }))
    }

    async fn rollback(
        &self,
        request: Request<v1::RollbackRequest>,
    ) -> Result<Response<v1::RollbackResponse>, Status> {
        let (from, request) = (peer(&request), request.into_inner());
        let (model, alias) = (name("name", &request.name)?, alias("alias", &request.alias)?);
        let registry = self.engine.registry();
        let note = note(request.by, request.reason, from);
        let assignment = registry.rollback(&model, &alias, note).await?;
        Ok(Response::new(v1::RollbackResponse { assignment: Some(from_assignment(assignment)) }))
    }

    async fn delete_version(
        &self,
        request: Request<v1::DeleteVersionRequest>,
    ) -> Result<Response<v1::DeleteVersionResponse>, Status> {
        let request = request.into_inner();
        let (model, version) = (name("name", &request.name)?, version("version", request.version)?);
        self.engine.delete_version(&model, version).await?;
        Ok(Response::new(v1::DeleteVersionResponse {}))
    }

    async fn export_version(
        &self,
        request: Request<v1::ExportVersionRequest>,
    ) -> Result<Response<ExportStream>, Status> {
        let held = self.transfers.begin()?;
        let request = request.into_inner();
        let format = ExportFormat::parse("format", request.format)?;
        let manifest = self.engine.version(&export_version(request)?).await?;
        let registry = self.engine.registry();
        let weights = registry.weights(&manifest).await?;
        let aliases = registry.aliases(&manifest.model).await?;
        let version = from_manifest(&manifest, &aliases);
        let file = match format {
            ExportFormat::Safetensors => weights,
            ExportFormat::Onnx => onnx::export(manifest, weights).await?,
        };
        Ok(Response::new(transfer::export(version, file, held)))
    }

    async fn import_version(
        &self,
        request: Request<Streaming<v1::ImportVersionRequest>>,
    ) -> Result<Response<v1::ImportVersionResponse>, Status> {
        let _held = self.transfers.begin()?;
        let by = note(String::new(), String::new(), peer(&request)).by;
        let mut messages = request.into_inner();
        let job = import_job(transfer::metadata(&mut messages).await?, by)?;
        job.check()?;
        let file = transfer::file(&mut messages).await?;
        let imported = self.engine.import(job, file).await?;
        let aliases = self.engine.registry().aliases(&imported.manifest.model).await?;
        Ok(Response::new(from_imported_version(&imported, &aliases)))
    }
}
