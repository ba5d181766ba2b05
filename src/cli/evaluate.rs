//! `digitd evaluate`: the metrics of a version, the comparison with another one, and the gate before an
//! alias is moved to it.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    args::{AuditArgs, DatasetArgs, ModelArgs, reference},
    connection::ConnectionArgs,
    error::Error,
    exit::ExitStatus,
};
use crate::{
    pb::digitd::v1::{EvaluateProgress, EvaluateRequest, EvaluateResponse, ModelRef, Promotion, Split},
    report::{
        html::evaluation_page,
        text::{self, Layout},
    },
};

/// Evaluate a version on a split of a data set
///
/// Shows accuracy with its 95 % interval, loss, top-k accuracy and calibration; precision, recall, F1,
/// ROC AUC and average precision of every class; the confusion matrix; and misclassified images. The exit
/// code is 1 if a requirement is not met.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Metrics that can be required: accuracy, accuracy_low (the lower end of its interval), loss,
expected_calibration_error, top_1_accuracy to top_5_accuracy; precision, recall, f1, roc_auc and
average_precision as macro_recall, weighted_recall or of one class, recall[7].

Examples:
  digitd evaluate
  digitd evaluate --version 3 --split validation
  digitd evaluate --dataset mnist --json
  digitd evaluate --alias latest --compare production
  digitd evaluate --output report.html
  digitd evaluate --alias latest --dataset mnist --require 'accuracy>=0.985' --promote production")]
pub struct EvaluateArgs {
    #[command(flatten)]
    dataset: DatasetArgs,

    /// Images in a forward pass; of the results, only the means over batches depend on it [default: 1000]
    #[arg(long, value_name = "N", help_heading = "Data")]
    batch_size: Option<i32>,

    #[command(flatten)]
    model: ModelArgs,

    /// Compare with a second version on the same images: 2, latest or digits/2
    #[arg(long, value_name = "VERSION", value_parser = reference, help_heading = "Version")]
    compare: Option<ModelRef>,

    /// Misclassified images to show, those of the largest loss, 0 to 100 [default: 10]
    #[arg(long, value_name = "N", help_heading = "What to show")]
    misclassified: Option<i32>,

    /// Draw each misclassified image in block characters
    #[arg(long, help_heading = "What to show")]
    pictures: bool,

    /// Bins of the reliability diagram, 1 to 100 [default: 15]
    #[arg(long, value_name = "N", help_heading = "What to show")]
    bins: Option<i32>,

    /// Fit the temperature that calibrates the version, on validation images
    #[arg(long, help_heading = "What to show")]
    temperature: bool,

    /// Write a report as one page of HTML, with the misclassified images
    #[arg(long, short, value_name = "FILE", help_heading = "Output")]
    output: Option<PathBuf>,

    #[command(flatten)]
    gate: GateArgs,

    #[command(flatten)]
    connection: ConnectionArgs,
}

/// The requirements for the version, and the alias that it gets.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Gate")]
struct GateArgs {
    /// Fail unless this requirement is met, for instance accuracy>=0.99; may be given several times
    #[arg(long, value_name = "REQUIREMENT")]
    require: Vec<String>,

    /// Point this alias at the version if all requirements are met
    #[arg(long, value_name = "ALIAS", requires = "require")]
    promote: Option<String>,

    /// Move the alias only if it points to this version now; 0 moves it only if it was never set
    #[arg(long, value_name = "N", requires = "promote")]
    expected_version: Option<i32>,

    #[command(flatten)]
    audit: AuditArgs,
}

impl GateArgs {
    /// Rejects a note that no history would record.
    fn check(&self) -> Result<(), Error> {
        if self.promote.is_none() && (self.audit.by.is_some() || !self.audit.reason.is_empty()) {
            let message = "--reason and --by are for the history of an alias: name it with --promote";
            return Err(Error::Usage(message.to_owned()));
        }
        Ok(())
    }
}

pub async fn run(args: EvaluateArgs) -> Result<ExitStatus, Error> {
    args.gate.check()?;
    let report = args.output.as_deref().map(ReportFile::open).transpose()?;
    let bar = EvaluationBar::new(args.connection.json);
    let request = args.request()?;
    let evaluated = args
        .connection
        .with(async |client| {
            Ok(client.evaluate_with_progress(request, |progress| bar.show(progress)).await?)
        })
        .await;
    bar.0.finish_and_clear();
    let response = match (evaluated, report) {
        (Ok(response), Some(report)) => {
            report.write(&evaluation_page(&response))?;
            response
        }
        (Err(error), Some(report)) => {
            report.discard();
            return Err(error);
        }
        (evaluated, None) => evaluated?,
    };
    args.connection.show("EvaluateResponse", &response, |layout| {
        text::evaluation(&response, layout) + &args.details(&response, layout)
    });
    Ok(ExitStatus::Success)
}

impl EvaluateArgs {
    fn request(&self) -> Result<EvaluateRequest, Error> {
        let gate = &self.gate;
        Ok(EvaluateRequest {
            model: Some(self.model.reference()?),
            dataset: self.dataset.dataset(),
            split: Split::from(self.dataset.split).into(),
            batch_size: self.batch_size,
            compare_to: self.compare.clone(),
            misclassified: self.misclassified,
            misclassified_png: self.pictures || self.output.is_some(),
            calibration_bins: self.bins,
            fit_temperature: self.temperature,
            require: gate.require.clone(),
            promote: gate.promote.clone().map(|alias| Promotion {
                alias,
                expected_version: gate.expected_version,
                reason: gate.audit.reason.clone(),
                by: gate.audit.by(),
            }),
        })
    }

    /// The text after the metrics: misclassified images, requirements, the alias and the report.
    fn details(&self, response: &EvaluateResponse, layout: Layout) -> String {
        let mut text = text::misclassified_images(response, self.pictures, layout);
        for result in &response.results {
            text += &format!("{} is met\n", text::requirement_result(result));
        }
        if let (Some(alias), Some(assignment)) = (&self.gate.promote, &response.promoted) {
            text += &text::alias_move(alias, assignment);
        }
        if let Some(path) = &self.output {
            text += &format!("The report is {}\n", path.display());
        }
        text
    }
}

/// The file of a report, opened before the evaluation, so that an alias is not moved where the report cannot
/// be written. Its old contents stay until the new ones are written.
struct ReportFile<'a> {
    path: &'a Path,
    file: File,
}

impl<'a> ReportFile<'a> {
    fn open(path: &'a Path) -> Result<Self, Error> {
        let file = File::options().write(true).create(true).truncate(false).open(path);
        let file = file.map_err(Error::io("write", path.display().to_string()))?;
        Ok(Self { path, file })
    }

    /// Removes the file where it was created for this report.
    fn discard(self) {
        if self.file.metadata().is_ok_and(|file| file.len() == 0) {
            // An empty file that remains is harmless.
            let _ = std::fs::remove_file(self.path);
        }
    }

    fn write(mut self, page: &str) -> Result<(), Error> {
        let written = self.file.set_len(0).and_then(|()| self.file.write_all(page.as_bytes()));
        written.map_err(Error::io("write", self.path.display().to_string()))
    }
}

/// A progress bar on a terminal, for evaluations that take longer than a moment.
struct EvaluationBar(ProgressBar);

impl EvaluationBar {
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
