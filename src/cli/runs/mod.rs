//! `digitd runs`: the runs that a server knows.

mod compare;
mod export;
mod history;
mod plot;
mod results;
mod settings;

use super::{
    Error, Outcome,
    args::PageArgs,
    output::{self, Style},
    session::SessionArgs,
    watch::{Interrupt, follow},
};
use crate::pb::digitd::v1::ListRunsRequest;

pub(super) use results::Results;

/// List, show, watch, plot, compare, export and cancel runs
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  digitd runs list
  digitd runs watch 0192f0c1-7d1e-7cc3-98c4-dc0c0c07398f --json
  digitd runs plot --output loss.png
  digitd runs cancel 0192f0c1-7d1e-7cc3-98c4-dc0c0c07398f")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List runs, newest first
    List(ListArgs),
    /// Show a run: its state, how far it came, and its request
    Show(OneArgs),
    /// Follow a run to its end; Ctrl-C ends the watching, not the run
    ///
    /// Exit codes: 0 the run completed, 1 it failed or was interrupted, 130 it was cancelled or
    /// watching was ended.
    Watch(WatchArgs),
    /// Draw loss and accuracy of runs, training and validation
    ///
    /// Training is a solid line, validation a dashed one with a dot for every value, each run in a
    /// colour of its own. The first batches of a long run may leave the picture at its top; --log
    /// shows them too.
    Plot(plot::Args),
    /// Compare runs: what differs in their requests, and what came of them
    Compare(compare::Args),
    /// Write what a run has reported for other programs
    Export(export::Args),
    /// Stop a run after its current batch and keep its checkpoint
    Cancel(OneArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Only runs of this model
    #[arg(long, value_name = "NAME")]
    model: Option<String>,

    #[command(flatten)]
    page: PageArgs,
}

#[derive(Debug, clap::Args)]
struct OneArgs {
    /// The run's id
    run_id: String,

    #[command(flatten)]
    session: SessionArgs,
}

#[derive(Debug, clap::Args)]
struct WatchArgs {
    /// The run's id
    run_id: String,

    /// Leave out the events up to this number
    #[arg(long, value_name = "N", default_value_t = 0)]
    after: i32,

    #[command(flatten)]
    session: SessionArgs,
}

pub async fn run(args: Args) -> Result<Outcome, Error> {
    match args.command {
        Command::List(args) => list(args).await,
        Command::Show(args) => {
            let run = args.session.with(async |client| Ok(client.run(&args.run_id).await?)).await?;
            args.session.show("Run", &run, |_| output::run(&run));
            Ok(Outcome::Done)
        }
        Command::Watch(args) => watch(args).await,
        Command::Plot(args) => plot::run(args).await,
        Command::Compare(args) => compare::run(args).await,
        Command::Export(args) => export::run(args).await,
        Command::Cancel(args) => {
            let run = args.session.with(async |client| Ok(client.cancel_run(&args.run_id).await?)).await?;
            args.session.show("Run", &run, |_| output::run(&run));
            Ok(Outcome::Done)
        }
    }
}

async fn list(args: ListArgs) -> Result<Outcome, Error> {
    let request = ListRunsRequest {
        page_size: Some(args.page.limit),
        page_token: String::new(),
        model: args.model.clone().unwrap_or_default(),
    };
    let session = &args.page.session;
    let answer = session.with(async |client| Ok(client.runs(request).await?)).await?;
    session.show("ListRunsResponse", &answer, |ink| match answer.runs.is_empty() {
        true => "There is no run yet: `digitd train` starts one.\n".to_owned(),
        false => output::run_list(&answer.runs, output::width(), ink),
    });
    Ok(Outcome::Done)
}

async fn watch(args: WatchArgs) -> Result<Outcome, Error> {
    let style = if args.session.json { Style::Json } else { Style::fitting() };
    let session = args.session.open().await?;
    let followed = match session.client.watch(&args.run_id, args.after).await {
        Ok(mut events) => follow(&session, &mut events, style, Interrupt::EndsWatching).await,
        Err(error) => Err(error.into()),
    };
    let closed = session.close().await;
    let followed = followed?;
    closed.map(|()| followed.outcome)
}
