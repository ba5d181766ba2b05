//! `digitd runs export`: the events of a run, for other programs.

use clap::ValueEnum;

use super::{fetch::fetch_history, tensorboard::write_event_file};
use crate::{
    cli::{connection::ConnectionArgs, error::Error, exit::ExitStatus, terminal},
    report::{json, run::csv},
};

#[derive(Debug, clap::Args)]
pub struct RunExportArgs {
    /// The run's id
    run_id: String,

    /// The format of the output
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: RunExportFormat,

    /// The file to write, `-` is standard output; for tensorboard a folder of runs
    #[arg(long, short, value_name = "PATH|-")]
    output: String,

    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RunExportFormat {
    /// A row for every reported batch and every epoch
    Csv,
    /// A line of JSON for every event, in the form of grpcurl
    Jsonl,
    /// An event file with the metrics of batches and epochs; `digitd serve --tensorboard-dir` writes weights
    /// and kernels too
    Tensorboard,
}

pub async fn run(args: RunExportArgs) -> Result<ExitStatus, Error> {
    if args.connection.json {
        let message = "--json has no meaning here: --format says what to write, and jsonl is JSON";
        return Err(Error::Usage(message.to_owned()));
    }
    let history = args.connection.with(async |client| fetch_history(client, &args.run_id).await).await?;
    match args.format {
        RunExportFormat::Csv => write(&args.output, &csv(&history.events))?,
        RunExportFormat::Jsonl => {
            let lines = history.events.iter().map(|event| json::line("TrainEvent", event) + "\n");
            write(&args.output, &lines.collect::<String>())?;
        }
        RunExportFormat::Tensorboard => write_event_file(&args.output, &history)?,
    }
    Ok(ExitStatus::Success)
}

fn write(path: &str, text: &str) -> Result<(), Error> {
    if path == "-" {
        terminal::print(text);
        return Ok(());
    }
    std::fs::write(path, text).map_err(Error::io("write", path))
}
