//! `digitd runs compare`: in what the requests of runs differ, and what came of them.

use serde_json::json;

use super::{
    super::{
        Error, Outcome,
        output::{self, Ink},
        session::SessionArgs,
    },
    history::{History, short_ids},
    results::Results,
    settings::{differences, settings},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ids of runs, two or more
    #[arg(value_name = "RUN", required = true, num_args = 2..)]
    run_ids: Vec<String>,

    #[command(flatten)]
    session: SessionArgs,
}

pub async fn run(args: Args) -> Result<Outcome, Error> {
    let histories = args.session.with(async |client| History::of_all(client, &args.run_ids).await).await?;
    let requests: Vec<_> =
        histories.iter().map(|history| settings(&history.run.request.clone().unwrap_or_default())).collect();
    let differences = differences(&requests);
    let results: Vec<Results> = histories.iter().map(Results::of).collect();
    crate::cli::print(&match args.session.json {
        true => {
            let differences: serde_json::Map<_, _> =
                differences.into_iter().map(|(name, values)| (name, json!(values))).collect();
            json!({ "runs": results, "differences": differences }).to_string() + "\n"
        }
        false => output::comparison(&short_ids(&histories), &differences, &results, Ink::of_stdout()),
    });
    Ok(Outcome::Done)
}
