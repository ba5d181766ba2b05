//! `digitd runs plot`: loss and accuracy of runs as a picture.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::{
    super::{
        Error, Outcome,
        plot::{self, Curve, Kind, MOST_RUNS, Panel, Picture, Scale, smooth},
        session::SessionArgs,
    },
    history::{History, short_ids},
    settings::{differences, settings, telling},
};
use crate::pb::digitd::v1::{BatchReport, EpochReport, Loss, TrainRequest};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ids of runs, up to 7 [default: the newest run]
    #[arg(value_name = "RUN")]
    run_ids: Vec<String>,

    /// The picture's file; its ending says which kind: .svg or .png
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,

    /// Show the loss on a logarithmic axis
    #[arg(long)]
    log: bool,

    /// Smooth the training curves by TensorBoard's moving average, from 0 (not at all) to below 1
    /// [default: 0.6 where a run has reported more than 100 batches, else 0]
    #[arg(long, value_name = "X", value_parser = weight)]
    smoothing: Option<f64>,

    /// What the horizontal axis counts
    #[arg(long, value_enum, value_name = "UNIT", default_value_t)]
    x: Unit,

    #[command(flatten)]
    session: SessionArgs,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Unit {
    #[default]
    Epoch,
    Step,
}

/// More reported batches than that are noise to the eye.
const MANY_BATCHES: usize = 100;

/// The forms of a picture.
#[derive(Debug, Clone, Copy)]
enum Form {
    Svg,
    Png,
}

pub async fn run(args: Args) -> Result<Outcome, Error> {
    let form = form(&args.output)?;
    if args.run_ids.len() > MOST_RUNS {
        return Err(Error::Usage(format!("one picture tells at most {MOST_RUNS} runs apart")));
    }
    let histories = args.session.with(async |client| History::of_all(client, &args.run_ids).await).await?;
    if let Some(silent) = histories.iter().find(|history| history.batches().next().is_none()) {
        let run_id = &silent.run.run_id;
        return Err(Error::Usage(format!(
            "run {run_id} has reported no batch yet: there is nothing to draw"
        )));
    }
    let picture = args.picture(&histories);
    let bytes = match form {
        Form::Svg => plot::svg(&picture)?.into_bytes(),
        Form::Png => plot::png(&picture)?,
    };
    let path = args.output.display().to_string();
    std::fs::write(&args.output, bytes).map_err(Error::io("write", &path))?;
    args.tell(&path, &histories);
    Ok(Outcome::Done)
}

impl Args {
    fn picture(&self, histories: &[History]) -> Picture {
        let smoothing = self.smoothing.unwrap_or_else(|| suitable_smoothing(histories));
        let train = match smoothing {
            weight if weight > 0.0 => format!("training batches, smoothed by {weight} (faint: as reported)"),
            _ => "training batches".to_owned(),
        };
        let loss = Panel {
            title: loss_title(histories, self.log),
            scale: if self.log { Scale::Logarithmic } else { Scale::Linear },
            curves: self.curves((histories, smoothing), |batch| batch.loss, |epoch| epoch.validation_loss),
        };
        let accuracy = Panel {
            title: "Accuracy (%)".to_owned(),
            scale: Scale::Percent,
            curves: self.curves(
                (histories, smoothing),
                |batch| batch.accuracy,
                |epoch| epoch.validation_accuracy,
            ),
        };
        Picture {
            runs: labels(histories),
            train,
            x_name: match self.x {
                Unit::Epoch => "epoch",
                Unit::Step => "step",
            },
            panels: vec![loss, accuracy],
        }
    }

    /// The curves of one quantity: of each run its batches, smoothed and as reported, and its
    /// validations at the ends of their epochs.
    fn curves(
        &self,
        (histories, smoothing): (&[History], f64),
        of_batch: impl Fn(&BatchReport) -> Option<f64>,
        of_epoch: impl Fn(&EpochReport) -> Option<f64>,
    ) -> Vec<Curve> {
        let mut curves = Vec::new();
        for (run, history) in histories.iter().enumerate() {
            let steps = f64::from(history.batches_per_epoch());
            let x = |step: f64| if self.x == Unit::Epoch { step / steps } else { step };
            let raw = history.batches().filter_map(|it| Some((x(f64::from(it.step)), of_batch(it)?)));
            let raw: Vec<(f64, f64)> = raw.collect();
            let validation: Vec<(f64, f64)> = history
                .epochs()
                .filter_map(|it| Some((x(f64::from(it.epoch) * steps), of_epoch(it)?)))
                .collect();
            curves.push(Curve { run, kind: Kind::Train, points: smooth(&raw, smoothing) });
            if smoothing > 0.0 {
                curves.push(Curve { run, kind: Kind::Raw, points: raw });
            }
            if !validation.is_empty() {
                curves.push(Curve { run, kind: Kind::Validation, points: validation });
            }
        }
        curves
    }

    fn tell(&self, path: &str, histories: &[History]) {
        let run_ids: Vec<&str> = histories.iter().map(|history| history.run.run_id.as_str()).collect();
        crate::cli::print(&match self.session.json {
            true => serde_json::json!({ "output": path, "runIds": run_ids }).to_string() + "\n",
            false => format!("{path} shows {}\n", run_ids.join(", ")),
        });
    }
}

/// Few reports are told best by themselves: an average would lag behind them.
fn suitable_smoothing(histories: &[History]) -> f64 {
    let most = histories.iter().map(|history| history.batches().count()).max().unwrap_or_default();
    if most > MANY_BATCHES { 0.6 } else { 0.0 }
}

/// A run by itself is told by its best validation; several by what differs in their requests.
fn labels(histories: &[History]) -> Vec<String> {
    let requests: Vec<_> =
        histories.iter().map(|history| settings(&history.run.request.clone().unwrap_or_default())).collect();
    let differences = differences(&requests);
    let label = |(run, id): (usize, String)| {
        let own = telling(&differences).filter_map(|(name, values)| {
            let value = values[run].as_ref()?;
            Some(if name == "optimizer" {
                value.clone()
            } else {
                format!("{} {value}", name.rsplit('.').next()?)
            })
        });
        let own: Vec<String> = own.collect();
        let model = histories[run].run.request.as_ref().map(|request| request.model.as_str());
        match own.is_empty() {
            true => format!("run {id} of {}", model.unwrap_or_default()),
            false => format!("{id}: {}", own.join(", ")),
        }
    };
    short_ids(histories).into_iter().enumerate().map(label).collect()
}

fn loss_title(histories: &[History], log: bool) -> String {
    let of = |history: &History| history.run.request.as_ref().map(TrainRequest::loss);
    let first = histories.first().and_then(of);
    let name = match first.filter(|_| histories.iter().all(|history| of(history) == first)) {
        Some(Loss::CrossEntropy) => "Cross-entropy loss",
        Some(Loss::MeanSquaredError) => "Mean squared error",
        Some(Loss::Unspecified) | None => "Loss",
    };
    if log { format!("{name} (logarithmic)") } else { name.to_owned() }
}

fn form(path: &Path) -> Result<Form, Error> {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    match ending.as_deref() {
        Some("svg") => Ok(Form::Svg),
        Some("png") => Ok(Form::Png),
        _ => Err(Error::Usage(format!("{}: a picture's file ends in .svg or .png", path.display()))),
    }
}

fn weight(text: &str) -> Result<f64, String> {
    let weight: f64 = text.parse().map_err(|_| "is no number".to_owned())?;
    match (0.0..1.0).contains(&weight) {
        true => Ok(weight),
        false => Err("must be at least 0 and below 1".to_owned()),
    }
}
