//! The chart of runs: loss and accuracy of their batches and validations.

use super::{
    chart::{Chart, Panel, Scale},
    curve::{Curve, CurveKind, smooth},
};
use crate::{
    pb::digitd::v1::{BatchReport, EpochReport, Loss, TrainRequest},
    report::run::{RequestDifference, RunHistory, distinguishing, request_differences, short_ids},
};

/// How the curves of runs are drawn.
#[derive(Debug, Clone, Copy)]
pub struct PlotOptions {
    /// Whether the loss has a logarithmic axis.
    pub log_loss: bool,
    /// Weight of the moving average of training curves in [0, 1); none chooses one by the number of reports.
    pub smoothing: Option<f64>,
    pub x_axis: XAxis,
}

/// What the horizontal axis counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum XAxis {
    #[default]
    Epoch,
    Step,
}

/// The number of reported batches above which a curve is smoothed, since its noise hides its course.
const MANY_BATCHES: usize = 100;

/// The weight of the moving average by which such a curve is smoothed.
const SMOOTHING: f64 = 0.6;

/// The loss and the accuracy of these runs, a panel for each.
pub fn run_chart(histories: &[RunHistory], options: PlotOptions) -> Chart {
    let smoothing = options.smoothing.unwrap_or_else(|| suitable_smoothing(histories));
    let curves = RunCurves { histories, smoothing, x_axis: options.x_axis };
    let train = match smoothing {
        weight if weight > 0.0 => format!("training batches, smoothed by {weight} (faint: as reported)"),
        _ => "training batches".to_owned(),
    };
    let loss = Panel {
        title: loss_title(histories, options.log_loss),
        scale: if options.log_loss { Scale::Logarithmic } else { Scale::Linear },
        curves: curves.of(|batch| batch.loss, |epoch| epoch.validation_loss),
    };
    let accuracy = Panel {
        title: "Accuracy (%)".to_owned(),
        scale: Scale::Percent,
        curves: curves.of(|batch| batch.accuracy, |epoch| epoch.validation_accuracy),
    };
    Chart {
        runs: labels(histories),
        train,
        x_name: match options.x_axis {
            XAxis::Epoch => "epoch",
            XAxis::Step => "step",
        },
        panels: vec![loss, accuracy],
    }
}

/// Makes the curves of one metric after another.
struct RunCurves<'a> {
    histories: &'a [RunHistory],
    smoothing: f64,
    x_axis: XAxis,
}

impl RunCurves<'_> {
    /// The curves of one metric: for each run its batches, smoothed and as reported, and its validations
    /// at the ends of their epochs.
    fn of(
        &self,
        batch_metric: impl Fn(&BatchReport) -> Option<f64>,
        epoch_metric: impl Fn(&EpochReport) -> Option<f64>,
    ) -> Vec<Curve> {
        let mut curves = Vec::new();
        for (run, history) in self.histories.iter().enumerate() {
            let steps = f64::from(history.batches_per_epoch());
            let x = |step: f64| if self.x_axis == XAxis::Epoch { step / steps } else { step };
            let raw = history.batches().filter_map(|it| Some((x(f64::from(it.step)), batch_metric(it)?)));
            let raw: Vec<(f64, f64)> = raw.collect();
            let validation: Vec<(f64, f64)> = history
                .epochs()
                .filter_map(|it| Some((x(f64::from(it.epoch) * steps), epoch_metric(it)?)))
                .collect();
            curves.push(Curve { run, kind: CurveKind::Train, points: smooth(&raw, self.smoothing) });
            if self.smoothing > 0.0 {
                curves.push(Curve { run, kind: CurveKind::Raw, points: raw });
            }
            if !validation.is_empty() {
                curves.push(Curve { run, kind: CurveKind::Validation, points: validation });
            }
        }
        curves
    }
}

/// A smoothing that suits the number of reports: the average of few would lag behind them.
fn suitable_smoothing(histories: &[RunHistory]) -> f64 {
    let max_batches = histories.iter().map(|history| history.batches().count()).max().unwrap_or_default();
    if max_batches > MANY_BATCHES { SMOOTHING } else { 0.0 }
}

/// Names of the runs for the legend: the model of a run by itself, and the settings that several differ in.
fn labels(histories: &[RunHistory]) -> Vec<String> {
    let differences = request_differences(histories);
    let label = |(run, id): (usize, String)| {
        let settings = distinguishing(&differences).filter_map(|RequestDifference { name, values }| {
            let value = values[run].as_ref()?;
            Some(match name.as_str() {
                "optimizer" => value.clone(),
                _ => format!("{} {value}", name.rsplit('.').next()?),
            })
        });
        let settings: Vec<String> = settings.collect();
        let model = histories[run].run.request.as_ref().map(|request| request.model.as_str());
        match settings.is_empty() {
            true => format!("run {id} of {}", model.unwrap_or_default()),
            false => format!("{id}: {}", settings.join(", ")),
        }
    };
    short_ids(histories).into_iter().enumerate().map(label).collect()
}

fn loss_title(histories: &[RunHistory], log: bool) -> String {
    let loss = |history: &RunHistory| history.run.request.as_ref().map(TrainRequest::loss);
    let first = histories.first().and_then(loss);
    let name = match first.filter(|_| histories.iter().all(|history| loss(history) == first)) {
        Some(Loss::CrossEntropy) => "Cross-entropy loss",
        Some(Loss::MeanSquaredError) => "Mean squared error",
        Some(Loss::Unspecified) | None => "Loss",
    };
    if log { format!("{name} (logarithmic)") } else { name.to_owned() }
}
