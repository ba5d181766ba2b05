//! `digitd models`: the registry of models, versions and aliases. `transfer` imports and exports weights.

mod transfer;

use super::{
    args::{AuditArgs, ModelArgs, PageArgs, SplitArg},
    connection::ConnectionArgs,
    error::Error,
    exit::ExitStatus,
    terminal,
};
use crate::{
    pb::digitd::v1::{
        Dataset, GetVersionRequest, ListAliasHistoryResponse, ListModelsResponse, ListVersionsRequest,
        RollbackRequest, SetAliasRequest, Split,
    },
    report::text,
};

/// List, show, import, export and delete versions of models, and move aliases
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  digitd models versions
  digitd models show 3
  digitd models set-alias production 3 --reason 'better on sevens'
  digitd models set-alias production 3 --require 'accuracy>=0.99'
  digitd models rollback production
  digitd models history production
  digitd models export --output digits.safetensors
  digitd models export --format onnx --output digits.onnx
  digitd models import digits.safetensors --set-alias production")]
pub struct ModelsArgs {
    #[command(subcommand)]
    command: ModelsCommand,
}

#[derive(Debug, clap::Subcommand)]
enum ModelsCommand {
    /// List all models
    List(ModelListArgs),
    /// List a model's versions, newest first
    Versions(VersionsArgs),
    /// Show a version: its origin and its metrics
    Show(VersionShowArgs),
    /// Point an alias at a version
    SetAlias(SetAliasArgs),
    /// Show the history of an alias, newest first: versions, who moved it and why
    History(AliasHistoryArgs),
    /// Point an alias back at its previous version
    Rollback(RollbackArgs),
    /// Delete a version that no alias points to; its number is not reused
    Delete(DeleteArgs),
    Import(transfer::ImportArgs),
    Export(transfer::ExportArgs),
}

#[derive(Debug, clap::Args)]
struct ModelListArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, clap::Args)]
struct VersionsArgs {
    /// The model [default: digits]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,

    #[command(flatten)]
    page: PageArgs,
}

#[derive(Debug, clap::Args)]
struct VersionShowArgs {
    /// The version; the same as --version
    #[arg(value_name = "VERSION", conflicts_with_all = ["version", "alias"], value_parser = clap::value_parser!(i32).range(1..))]
    number: Option<i32>,

    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, clap::Args)]
struct SetAliasArgs {
    /// The alias, for instance production
    alias: String,

    /// The version that it will point to
    version: i32,

    /// The model [default: digits]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,

    /// Move the alias only if it points to this version now; 0 moves it only if it was never set
    #[arg(long, value_name = "N")]
    expected_version: Option<i32>,

    /// Move the alias only if the version meets this requirement, for instance accuracy>=0.99; may be given several
    /// times. `digitd evaluate --help` names the metrics
    #[arg(long, value_name = "REQUIREMENT", help_heading = "Gate")]
    require: Vec<String>,

    /// The data set to evaluate the version on [default: the one that it was trained on]
    #[arg(long, value_name = "NAME", requires = "require", help_heading = "Gate")]
    dataset: Option<String>,

    /// The split of the data set [default: test]
    #[arg(long, value_enum, value_name = "SPLIT", requires = "require", help_heading = "Gate")]
    split: Option<SplitArg>,

    #[command(flatten)]
    audit: AuditArgs,

    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, clap::Args)]
struct AliasHistoryArgs {
    /// The alias, for instance production
    alias: String,

    /// The model [default: digits]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,

    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, clap::Args)]
struct RollbackArgs {
    /// The alias, for instance production
    alias: String,

    /// The model [default: digits]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,

    #[command(flatten)]
    audit: AuditArgs,

    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, clap::Args)]
struct DeleteArgs {
    /// The version
    version: i32,

    /// The model [default: digits]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,

    #[command(flatten)]
    connection: ConnectionArgs,
}

pub async fn run(args: ModelsArgs) -> Result<ExitStatus, Error> {
    match args.command {
        ModelsCommand::List(args) => list(args).await?,
        ModelsCommand::Versions(args) => versions(args).await?,
        ModelsCommand::Show(args) => show(args).await?,
        ModelsCommand::SetAlias(args) => set_alias(args).await?,
        ModelsCommand::History(args) => history(args).await?,
        ModelsCommand::Rollback(args) => rollback(args).await?,
        ModelsCommand::Delete(args) => delete(args).await?,
        ModelsCommand::Import(args) => transfer::import(args).await?,
        ModelsCommand::Export(args) => transfer::export(args).await?,
    }
    Ok(ExitStatus::Success)
}

async fn list(args: ModelListArgs) -> Result<(), Error> {
    let models = args.connection.with(async |client| Ok(client.models().await?)).await?;
    let response = ListModelsResponse { models };
    args.connection.show("ListModelsResponse", &response, |layout| match response.models.is_empty() {
        true => "There is no model yet: `digitd train` creates one.\n".to_owned(),
        false => text::models(&response.models, layout),
    });
    Ok(())
}

async fn versions(args: VersionsArgs) -> Result<(), Error> {
    let request = ListVersionsRequest {
        name: args.model.unwrap_or_default(),
        page_size: Some(args.page.limit),
        page_token: String::new(),
    };
    let connection = &args.page.connection;
    let response = connection.with(async |client| Ok(client.versions(request).await?)).await?;
    connection.show("ListVersionsResponse", &response, |layout| text::versions(&response.versions, layout));
    Ok(())
}

async fn show(args: VersionShowArgs) -> Result<(), Error> {
    let model = ModelArgs { version: args.number.or(args.model.version), ..args.model };
    let (name, which) = model.name_and_version()?;
    let request = GetVersionRequest { name, which };
    let version = args.connection.with(async |client| Ok(client.version(request).await?)).await?;
    args.connection.show("ModelVersion", &version, |_| text::version(&version));
    Ok(())
}

async fn set_alias(args: SetAliasArgs) -> Result<(), Error> {
    let request = SetAliasRequest {
        name: args.model.unwrap_or_default(),
        alias: args.alias.clone(),
        version: args.version,
        expected_version: args.expected_version,
        by: args.audit.by(),
        reason: args.audit.reason,
        require: args.require,
        dataset: args.dataset.map(|name| Dataset { name, ..Dataset::default() }),
        split: args.split.map_or(0, |split| Split::from(split).into()),
    };
    let assignment = args.connection.with(async |client| Ok(client.set_alias(request).await?)).await?;
    args.connection.show("AliasAssignment", &assignment, |_| text::alias_move(&args.alias, &assignment));
    Ok(())
}

async fn history(args: AliasHistoryArgs) -> Result<(), Error> {
    let model = args.model.unwrap_or_default();
    let assignments =
        args.connection.with(async |client| Ok(client.alias_history(&model, &args.alias).await?)).await?;
    let response = ListAliasHistoryResponse { assignments, next_page_token: String::new() };
    args.connection.show("ListAliasHistoryResponse", &response, |layout| {
        text::assignments(&response.assignments, layout)
    });
    Ok(())
}

async fn rollback(args: RollbackArgs) -> Result<(), Error> {
    let request = RollbackRequest {
        name: args.model.unwrap_or_default(),
        alias: args.alias.clone(),
        by: args.audit.by(),
        reason: args.audit.reason,
    };
    let assignment = args.connection.with(async |client| Ok(client.rollback(request).await?)).await?;
    args.connection.show("AliasAssignment", &assignment, |_| text::alias_move(&args.alias, &assignment));
    Ok(())
}

async fn delete(args: DeleteArgs) -> Result<(), Error> {
    let model = args.model.unwrap_or_default();
    args.connection.with(async |client| Ok(client.delete_version(&model, args.version).await?)).await?;
    if !args.connection.json {
        terminal::print(&format!("version {} is deleted\n", args.version));
    }
    Ok(())
}
