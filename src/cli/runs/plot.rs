//! `digitd runs plot`: loss and accuracy of runs as an SVG or PNG file.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::fetch::fetch_histories;
use crate::{
    cli::{connection::ConnectionArgs, error::Error, exit::ExitStatus, terminal},
    report::{
        plot::{self, MAX_RUNS, PlotOptions, XAxis},
        run::RunHistory,
    },
};

#[derive(Debug, clap::Args)]
pub struct PlotArgs {
    /// Ids of runs, up to 7 [default: the newest run]
    #[arg(value_name = "RUN")]
    run_ids: Vec<String>,

    /// The file to write; its extension is its format: .svg or .png
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,

    /// Show the loss on a logarithmic axis
    #[arg(long)]
    log: bool,

    /// Smooth the training curves with TensorBoard's moving average, from 0 (off) to below 1
    /// [default: 0.6 if a run has reported more than 100 batches, else 0]
    #[arg(long, value_name = "X", value_parser = weight)]
    smoothing: Option<f64>,

    /// Unit of the horizontal axis
    #[arg(long, value_enum, value_name = "UNIT", default_value_t)]
    x: XAxisArg,

    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum XAxisArg {
    #[default]
    Epoch,
    Step,
}

/// The formats of a plot.
#[derive(Debug, Clone, Copy)]
enum PlotFormat {
    Svg,
    Png,
}

pub async fn run(args: PlotArgs) -> Result<ExitStatus, Error> {
    let format = format_of(&args.output)?;
    if args.run_ids.len() > MAX_RUNS {
        return Err(Error::Usage(format!("one plot shows at most {MAX_RUNS} runs")));
    }
    let histories = args.connection.with(async |client| fetch_histories(client, &args.run_ids).await).await?;
    if let Some(empty) = histories.iter().find(|history| history.batches().next().is_none()) {
        let run_id = &empty.run.run_id;
        return Err(Error::Usage(format!(
            "run {run_id} has reported no batch yet: there is nothing to plot"
        )));
    }
    let options = PlotOptions { log_loss: args.log, smoothing: args.smoothing, x_axis: args.x.into() };
    let chart = plot::run_chart(&histories, options);
    let bytes = match format {
        PlotFormat::Svg => plot::svg(&chart)?.into_bytes(),
        PlotFormat::Png => plot::png(&chart)?,
    };
    let path = args.output.display().to_string();
    std::fs::write(&args.output, bytes).map_err(Error::io("write", &path))?;
    args.report(&path, &histories);
    Ok(ExitStatus::Success)
}

impl PlotArgs {
    /// Prints the file and the runs that it shows.
    fn report(&self, path: &str, histories: &[RunHistory]) {
        let run_ids: Vec<&str> = histories.iter().map(|history| history.run.run_id.as_str()).collect();
        terminal::print(&match self.connection.json {
            true => serde_json::json!({ "output": path, "runIds": run_ids }).to_string() + "\n",
            false => format!("{path} shows {}\n", run_ids.join(", ")),
        });
    }
}

fn format_of(path: &Path) -> Result<PlotFormat, Error> {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    match extension.as_deref() {
        Some("svg") => Ok(PlotFormat::Svg),
        Some("png") => Ok(PlotFormat::Png),
        _ => Err(Error::Usage(format!("{}: the extension of a plot is .svg or .png", path.display()))),
    }
}

impl From<XAxisArg> for XAxis {
    fn from(axis: XAxisArg) -> Self {
        match axis {
            XAxisArg::Epoch => Self::Epoch,
            XAxisArg::Step => Self::Step,
        }
    }
}

fn weight(text: &str) -> Result<f64, String> {
    let weight: f64 = text.parse().map_err(|_| "is not a number".to_owned())?;
    match (0.0..1.0).contains(&weight) {
        true => Ok(weight),
        false => Err("must be at least 0 and below 1".to_owned()),
    }
}
