//! `digitd evaluate`: how good a version is, beside another one where that is asked for, and the gate
//! before an alias is moved to it.

mod diagram;
mod report;

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    Error, Outcome,
    args::{DatasetArgs, ModelArgs, NoteArgs, reference},
    output,
    session::SessionArgs,
};
use crate::pb::digitd::v1::{
    EvaluateProgress, EvaluateRequest, EvaluateResponse, ModelRef, Promotion, Split,
};

/// Measure a version on a part of a data set
///
/// Shows accuracy with its 95 % interval, loss, top-k accuracy and calibration; precision, recall, F1,
/// ROC AUC and average precision of every class; the confusion matrix; and the worst mistakes. Ends with
/// exit code 1 where something that is required does not hold.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Figures that can be required: accuracy, accuracy_low (the lower end of its interval), loss,
expected_calibration_error, top_1_accuracy to top_5_accuracy; precision, recall, f1, roc_auc and
average_precision as macro_recall, weighted_recall or of one class, recall[7].

Examples:
  digitd evaluate
  digitd evaluate --version 3 --split validation
  digitd evaluate --dataset mnist --json
  digitd evaluate --alias latest --compare production
  digitd evaluate --output report.html
  digitd evaluate --alias latest --require 'accuracy>=0.99' --promote production")]
pub struct Args {
    #[command(flatten)]
    dataset: DatasetArgs,

    /// Images of a forward pass; of the results it changes the means over batches alone [default: 1000]
    #[arg(long, value_name = "N", help_heading = "Data")]
    batch_size: Option<i32>,

    #[command(flatten)]
    model: ModelArgs,

    /// Measure a second version on the same images: 2, latest or digits/2
    #[arg(long, value_name = "VERSION", value_parser = reference, help_heading = "Version")]
    compare: Option<ModelRef>,

    /// Mistakes to show, those of the largest loss, 0 to 100 [default: 10]
    #[arg(long, value_name = "N", help_heading = "What to show")]
    worst: Option<i32>,

    /// Show each of them as a picture
    #[arg(long, help_heading = "What to show")]
    pictures: bool,

    /// Bins of the reliability table, 1 to 100 [default: 15]
    #[arg(long, value_name = "N", help_heading = "What to show")]
    bins: Option<i32>,

    /// Fit the temperature that would calibrate the version, on validation images
    #[arg(long, help_heading = "What to show")]
    temperature: bool,

    /// Write a report as a page of HTML that stands alone, with the pictures of the mistakes
    #[arg(long, short, value_name = "FILE", help_heading = "Output")]
    output: Option<PathBuf>,

    #[command(flatten)]
    gate: GateArgs,

    #[command(flatten)]
    session: SessionArgs,
}

/// What the version must reach, and what happens then.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Gate")]
struct GateArgs {
    /// Fail unless this holds, for instance accuracy>=0.99; may be given several times
    #[arg(long, value_name = "REQUIREMENT")]
    require: Vec<String>,

    /// Point this alias at the version where all of that holds
    #[arg(long, value_name = "ALIAS", requires = "require")]
    promote: Option<String>,

    /// Move it only if it points to this version now; 0: only if it was never set
    #[arg(long, value_name = "N", requires = "promote")]
    expected_version: Option<i32>,

    #[command(flatten)]
    note: NoteArgs,
}

impl GateArgs {
    /// A note without a history to keep it is a mistake of whoever wrote it.
    fn check(&self) -> Result<(), Error> {
        if self.promote.is_none() && (self.note.by.is_some() || !self.note.reason.is_empty()) {
            let message = "--reason and --by are for the history of an alias: name it with --promote";
            return Err(Error::Usage(message.to_owned()));
        }
        Ok(())
    }
}

pub async fn run(args: Args) -> Result<Outcome, Error> {
    args.gate.check()?;
    let report = args.output.as_deref().map(Report::open).transpose()?;
    let bar = Bar::new(args.session.json);
    let request = args.request()?;
    let measured = args
        .session
        .with(async |client| Ok(client.evaluate_watched(request, |progress| bar.show(progress)).await?))
        .await;
    bar.0.finish_and_clear();
    let answer = match (measured, report) {
        (Ok(answer), Some(report)) => {
            report.write(&report::page(&answer))?;
            answer
        }
        (Err(error), Some(report)) => {
            report.leave();
            return Err(error);
        }
        (measured, None) => measured?,
    };
    args.session
        .show("EvaluateResponse", &answer, |ink| output::evaluation(&answer, ink) + &args.rest(&answer, ink));
    Ok(Outcome::Done)
}

impl Args {
    fn request(&self) -> Result<EvaluateRequest, Error> {
        let gate = &self.gate;
        Ok(EvaluateRequest {
            model: Some(self.model.reference()?),
            dataset: self.dataset.dataset(),
            split: Split::from(self.dataset.split).into(),
            batch_size: self.batch_size,
            compare_to: self.compare.clone(),
            worst: self.worst,
            worst_png: self.pictures || self.output.is_some(),
            calibration_bins: self.bins,
            fit_temperature: self.temperature,
            require: gate.require.clone(),
            promote: gate.promote.clone().map(|alias| Promotion {
                alias,
                expected_version: gate.expected_version,
                reason: gate.note.reason.clone(),
                by: gate.note.by(),
            }),
        })
    }

    /// What follows the figures: mistakes, what was required, and where things went.
    fn rest(&self, answer: &EvaluateResponse, ink: output::Ink) -> String {
        let mut text = output::mistakes(answer, self.pictures, ink);
        for result in &answer.results {
            text += &format!("{} holds\n", output::requirement_result(result));
        }
        if let (Some(alias), Some(assignment)) = (&self.gate.promote, &answer.promoted) {
            text += &output::moved(alias, assignment);
        }
        if let Some(path) = &self.output {
            text += &format!("{}: the report\n", path.display());
        }
        text
    }
}

/// The file of a report, opened before anything is asked: an alias does not move for a report that cannot
/// be written. What it held before stays until then.
struct Report<'a> {
    path: &'a Path,
    file: File,
}

impl<'a> Report<'a> {
    fn open(path: &'a Path) -> Result<Self, Error> {
        let file = File::options().write(true).create(true).truncate(false).open(path);
        let file = file.map_err(Error::io("write", path.display().to_string()))?;
        Ok(Self { path, file })
    }

    /// Nothing is to be reported: a file that was made for it goes.
    fn leave(self) {
        if self.file.metadata().is_ok_and(|file| file.len() == 0) {
            // Where it stays, it harms nobody.
            let _ = std::fs::remove_file(self.path);
        }
    }

    fn write(mut self, page: &str) -> Result<(), Error> {
        let written = self.file.set_len(0).and_then(|()| self.file.write_all(page.as_bytes()));
        written.map_err(Error::io("write", self.path.display().to_string()))
    }
}

/// A bar on a terminal, for evaluations that take longer than a moment.
struct Bar(ProgressBar);

impl Bar {
    fn new(json: bool) -> Self {
        let bar = match console::user_attended_stderr() && !json {
            true => ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr()),
            false => ProgressBar::hidden(),
        };
        let template = "{wide_bar:.green} {pos}/{len} images {per_sec} ETA {eta}";
        let style = ProgressStyle::with_template(template).expect("the template is valid");
        bar.set_style(style.progress_chars("━╸ "));
        Self(bar)
    }

    fn show(&self, progress: EvaluateProgress) {
        self.0.set_length(i64::from(progress.total).unsigned_abs());
        self.0.set_position(i64::from(progress.images()).unsigned_abs());
    }
}
