//! `digitd runs compare`: the differences between the requests of runs, and their results.

use serde_json::json;

use super::fetch::fetch_histories;
use crate::{
    cli::{connection::ConnectionArgs, error::Error, exit::ExitStatus, terminal},
    report::{
        run::{RunResults, request_differences, short_ids},
        text,
    },
};

#[derive(Debug, clap::Args)]
pub struct CompareArgs {
    /// Ids of runs, two or more
    #[arg(value_name = "RUN", required = true, num_args = 2..)]
    run_ids: Vec<String>,

    #[command(flatten)]
    connection: ConnectionArgs,
}

pub async fn run(args: CompareArgs) -> Result<ExitStatus, Error> {
    let histories = args.connection.with(async |client| fetch_histories(client, &args.run_ids).await).await?;
    let differences = request_differences(&histories);
    let results: Vec<RunResults> = histories.iter().map(RunResults::new).collect();
    terminal::print(&match args.connection.json {
        true => {
            let differences: serde_json::Map<_, _> =
                differences.into_iter().map(|it| (it.name, json!(it.values))).collect();
            json!({ "runs": results, "differences": differences }).to_string() + "\n"
        }
        false => text::run_comparison(&short_ids(&histories), &differences, &results, terminal::layout()),
    });
    Ok(ExitStatus::Success)
}
