//! `digitd runs`: the runs that a server knows.

mod compare;
mod export;
mod fetch;
mod plot;
mod tensorboard;

use super::{
    args::PageArgs,
    connection::ConnectionArgs,
    error::Error,
    exit::ExitStatus,
    progress::ProgressFormat,
    watch::{OnInterrupt, follow},
};
use crate::{pb::digitd::v1::ListRunsRequest, report::text};

/// List, show, watch, plot, compare, export and cancel runs
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  digitd runs list
  digitd runs watch 0192f0c1-7d1e-7cc3-98c4-dc0c0c07398f --json
  digitd runs plot --output loss.png
  digitd runs cancel 0192f0c1-7d1e-7cc3-98c4-dc0c0c07398f")]
pub struct RunsArgs {
    #[command(subcommand)]
    command: RunsCommand,
}

#[derive(Debug, clap::Subcommand)]
enum RunsCommand {
    /// List runs, newest first
    List(RunListArgs),
    /// Show a run: its state, its progress, and its request
    Show(RunIdArgs),
    /// Watch a run to its end; Ctrl-C stops watching, not the run
    ///
    /// Exit codes: 0 the run completed, 1 it failed or was interrupted, 130 it was cancelled or Ctrl-C
    /// stopped watching.
    Watch(RunWatchArgs),
    /// Plot training and validation loss and accuracy of runs
    ///
    /// Training is a solid line, validation a dashed one with a dot for every value, each run in a colour
    /// of its own. The first batches of a long run may lie above the plot; --log shows them too.
    Plot(plot::PlotArgs),
    /// Compare runs: the differences between their requests, and their results
    Compare(compare::CompareArgs),
    /// Export the events of a run for other programs
    Export(export::RunExportArgs),
    /// Cancel a run after its current batch, with a checkpoint
    Cancel(RunIdArgs),
}

#[derive(Debug, clap::Args)]
struct RunListArgs {
    /// Only runs of this model
    #[arg(long, value_name = "NAME")]
    model: Option<String>,

    #[command(flatten)]
    page: PageArgs,
}

#[derive(Debug, clap::Args)]
struct RunIdArgs {
    /// The run's id
    run_id: String,

    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, clap::Args)]
struct RunWatchArgs {
    /// The run's id
    run_id: String,

    /// Skip the events up to this sequence number
    #[arg(long, value_name = "N", default_value_t = 0)]
    after: i32,

    #[command(flatten)]
    connection: ConnectionArgs,
}

pub async fn run(args: RunsArgs) -> Result<ExitStatus, Error> {
    match args.command {
        RunsCommand::List(args) => list(args).await,
        RunsCommand::Show(args) => {
            let run = args.connection.with(async |client| Ok(client.run(&args.run_id).await?)).await?;
            args.connection.show("Run", &run, |_| text::run(&run));
            Ok(ExitStatus::Success)
        }
        RunsCommand::Watch(args) => watch(args).await,
        RunsCommand::Plot(args) => plot::run(args).await,
        RunsCommand::Compare(args) => compare::run(args).await,
        RunsCommand::Export(args) => export::run(args).await,
        RunsCommand::Cancel(args) => {
            let run = args.connection.with(async |client| Ok(client.cancel_run(&args.run_id).await?)).await?;
            args.connection.show("Run", &run, |_| text::run(&run));
            Ok(ExitStatus::Success)
        }
    }
}

async fn list(args: RunListArgs) -> Result<ExitStatus, Error> {
    let request = ListRunsRequest {
        page_size: Some(args.page.limit),
        page_token: String::new(),
        model: args.model.clone().unwrap_or_default(),
    };
    let connection = &args.page.connection;
    let response = connection.with(async |client| Ok(client.runs(request).await?)).await?;
    connection.show("ListRunsResponse", &response, |layout| match response.runs.is_empty() {
        true => "There is no run yet: `digitd train` starts one.\n".to_owned(),
        false => text::run_list(&response.runs, layout),
    });
    Ok(ExitStatus::Success)
}

async fn watch(args: RunWatchArgs) -> Result<ExitStatus, Error> {
    let format = ProgressFormat::json_or_terminal(args.connection.json);
    let connection = args.connection.open().await?;
    let watched = match connection.client.watch(&args.run_id, args.after).await {
        Ok(mut events) => follow(&connection, &mut events, format, OnInterrupt::StopWatching).await,
        Err(error) => Err(error.into()),
    };
    let closed = connection.close().await;
    let watched = watched?;
    closed.map(|()| watched.status)
}
