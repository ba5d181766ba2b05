//! `digitd models`: the registry of models, versions and aliases. Weights go in and out in `transfer`.

mod transfer;

use super::{
    Error, Outcome,
    args::{ModelArgs, NoteArgs, PageArgs, SplitArg},
    output,
    session::SessionArgs,
};
use crate::pb::digitd::v1::{
    Dataset, GetVersionRequest, ListAliasHistoryResponse, ListModelsResponse, ListVersionsRequest,
    RollbackRequest, SetAliasRequest, Split,
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
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List all models
    List(ListArgs),
    /// List a model's versions, newest first
    Versions(VersionsArgs),
    /// Show a version: where it comes from and how good it is
    Show(ShowArgs),
    /// Point an alias at a version
    SetAlias(SetAliasArgs),
    /// Show where an alias pointed, newest first, who moved it and why
    History(HistoryArgs),
    /// Point an alias back at the version before
    Rollback(RollbackArgs),
    /// Delete a version that no alias points to; its number is not used again
    Delete(DeleteArgs),
    Import(transfer::ImportArgs),
    Export(transfer::ExportArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    session: SessionArgs,
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
struct ShowArgs {
    /// The version; the same as --version
    #[arg(value_name = "VERSION", conflicts_with_all = ["version", "alias"], value_parser = clap::value_parser!(i32).range(1..))]
    number: Option<i32>,

    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    session: SessionArgs,
}

#[derive(Debug, clap::Args)]
struct SetAliasArgs {
    /// The alias, for instance production
    alias: String,

    /// The version that it shall point to
    version: i32,

    /// The model [default: digits]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,

    /// Move it only if it points to this version now; 0: only if it was never set
    #[arg(long, value_name = "N")]
    expected_version: Option<i32>,

    /// Move it only if the version is measured to keep this, for instance accuracy>=0.99; may be given
    /// several times. `digitd evaluate --help` names the figures
    #[arg(long, value_name = "REQUIREMENT", help_heading = "Gate")]
    require: Vec<String>,

    /// The data set to measure it on [default: the one that it was trained on]
    #[arg(long, value_name = "NAME", requires = "require", help_heading = "Gate")]
    dataset: Option<String>,

    /// The part of it [default: test]
    #[arg(long, value_enum, value_name = "SPLIT", requires = "require", help_heading = "Gate")]
    split: Option<SplitArg>,

    #[command(flatten)]
    note: NoteArgs,

    #[command(flatten)]
    session: SessionArgs,
}

#[derive(Debug, clap::Args)]
struct HistoryArgs {
    /// The alias, for instance production
    alias: String,

    /// The model [default: digits]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,

    #[command(flatten)]
    session: SessionArgs,
}

#[derive(Debug, clap::Args)]
struct RollbackArgs {
    /// The alias, for instance production
    alias: String,

    /// The model [default: digits]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,

    #[command(flatten)]
    note: NoteArgs,

    #[command(flatten)]
    session: SessionArgs,
}

#[derive(Debug, clap::Args)]
struct DeleteArgs {
    /// The version
    version: i32,

    /// The model [default: digits]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,

    #[command(flatten)]
    session: SessionArgs,
}

pub async fn run(args: Args) -> Result<Outcome, Error> {
    match args.command {
        Command::List(args) => list(args).await?,
        Command::Versions(args) => versions(args).await?,
        Command::Show(args) => show(args).await?,
        Command::SetAlias(args) => set_alias(args).await?,
        Command::History(args) => history(args).await?,
        Command::Rollback(args) => rollback(args).await?,
        Command::Delete(args) => delete(args).await?,
        Command::Import(args) => transfer::import(args).await?,
        Command::Export(args) => transfer::export(args).await?,
    }
    Ok(Outcome::Done)
}

async fn list(args: ListArgs) -> Result<(), Error> {
    let models = args.session.with(async |client| Ok(client.models().await?)).await?;
    let answer = ListModelsResponse { models };
    args.session.show("ListModelsResponse", &answer, |ink| match answer.models.is_empty() {
        true => "There is no model yet: `digitd train` makes one.\n".to_owned(),
        false => output::models(&answer.models, ink),
    });
    Ok(())
}

async fn versions(args: VersionsArgs) -> Result<(), Error> {
    let request = ListVersionsRequest {
        name: args.model.unwrap_or_default(),
        page_size: Some(args.page.limit),
        page_token: String::new(),
    };
    let session = &args.page.session;
    let answer = session.with(async |client| Ok(client.versions(request).await?)).await?;
    session.show("ListVersionsResponse", &answer, |ink| output::versions(&answer.versions, ink));
    Ok(())
}

async fn show(args: ShowArgs) -> Result<(), Error> {
    let model = ModelArgs { version: args.number.or(args.model.version), ..args.model };
    let (name, which) = model.spelt_out()?;
    let request = GetVersionRequest { name, which };
    let version = args.session.with(async |client| Ok(client.version(request).await?)).await?;
    args.session.show("ModelVersion", &version, |_| output::version(&version));
    Ok(())
}

async fn set_alias(args: SetAliasArgs) -> Result<(), Error> {
    let request = SetAliasRequest {
        name: args.model.unwrap_or_default(),
        alias: args.alias.clone(),
        version: args.version,
        expected_version: args.expected_version,
        by: args.note.by(),
        reason: args.note.reason,
        require: args.require,
        dataset: args.dataset.map(|name| Dataset { name, ..Dataset::default() }),
        split: args.split.map_or(0, |split| Split::from(split).into()),
    };
    let assignment = args.session.with(async |client| Ok(client.set_alias(request).await?)).await?;
    args.session.show("AliasAssignment", &assignment, |_| output::moved(&args.alias, &assignment));
    Ok(())
}

async fn history(args: HistoryArgs) -> Result<(), Error> {
    let model = args.model.unwrap_or_default();
    let assignments =
        args.session.with(async |client| Ok(client.alias_history(&model, &args.alias).await?)).await?;
    let answer = ListAliasHistoryResponse { assignments, next_page_token: String::new() };
    args.session
        .show("ListAliasHistoryResponse", &answer, |ink| output::assignments(&answer.assignments, ink));
    Ok(())
}

async fn rollback(args: RollbackArgs) -> Result<(), Error> {
    let request = RollbackRequest {
        name: args.model.unwrap_or_default(),
        alias: args.alias.clone(),
        by: args.note.by(),
        reason: args.note.reason,
    };
    let assignment = args.session.with(async |client| Ok(client.rollback(request).await?)).await?;
    args.session.show("AliasAssignment", &assignment, |_| output::moved(&args.alias, &assignment));
    Ok(())
}

async fn delete(args: DeleteArgs) -> Result<(), Error> {
    let model = args.model.unwrap_or_default();
    args.session.with(async |client| Ok(client.delete_version(&model, args.version).await?)).await?;
    if !args.session.json {
        super::print(&format!("version {} is deleted\n", args.version));
    }
    Ok(())
}
