//! `digitd train`: the request from the flags, and the run on the screen.

mod inspect_at;
mod optimizer;
mod recipe;
mod regularize;
mod run_options;
mod set;

use clap::ValueEnum;
use inspect_at::InspectAtArgs;
use optimizer::OptimizerArgs;
use recipe::RecipeArgs;
use regularize::RegularizeArgs;
use run_options::RunOptionArgs;
use set::set;

use super::{
    args, connection::ConnectionArgs, error::Error, exit::ExitStatus, input::read_message,
    progress::ProgressFormat, watch,
};
use crate::pb::digitd::v1::{
    EarlyStoppingMetric, Loss, ModelRef, Network, Precision, TrainRequest, Validation, validation::Size,
};

/// Train a network and publish it as a new version
///
/// Without flags it trains the network of the tutorial on MNIST to an accuracy of about 99 %. The run belongs
/// to the server: it continues when this command ends. Ctrl-C cancels it after the current batch, with a
/// checkpoint; a second Ctrl-C exits at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  digitd train
  digitd train --dataset synthetic --epochs 2 --optimizer momentum --learning-rate 0.05
  digitd train --dropout 0.5 --l2 0.0001 --schedule cosine
  digitd train --set-alias production --json | tail -1
  digitd train --validate-only --preset deep --batch-size 1000
  echo '{\"network\": {\"layers\": [{\"flatten\": {}}, {\"linear\": {\"outFeatures\": 10}}]}}' |
    digitd train --request -

Exit codes: 0 the run completed, 1 it failed or there was an error, 130 it was cancelled.
With --validate-only: 0 the request is valid, 1 it is not.")]
pub struct TrainArgs {
    /// The model that the run publishes a version of [default: digits]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,

    /// TrainRequest as JSON, for fields that have no flag; `-` reads standard input. Flags override it
    #[arg(long, value_name = "FILE|-")]
    request: Option<String>,

    /// The data set: mnist, synthetic or a custom one [default: mnist]
    #[arg(long, value_name = "NAME", help_heading = "Data")]
    dataset: Option<String>,

    /// Seed of the split into training and validation images, and of the images of synthetic [default: file
    /// order]
    #[arg(long, value_name = "N", help_heading = "Data", allow_negative_numbers = true)]
    dataset_seed: Option<i32>,

    /// Use only the first so many training images [default: all]
    #[arg(long, value_name = "N", help_heading = "Data", allow_negative_numbers = true)]
    max_train_images: Option<i32>,

    /// Number of validation images; 0 turns validation off [default: the recipe's fraction of the training
    /// images, else a sixth, at most 10000]
    #[arg(long, value_name = "N", help_heading = "Data", allow_negative_numbers = true)]
    validation_count: Option<i32>,

    /// The network: tutorial or deep (custom layers go into --request) [default: tutorial]
    #[arg(long, value_name = "NAME", help_heading = "Training")]
    preset: Option<String>,

    /// Start from the weights of a version, and from its network unless --preset names one: 3, latest,
    /// digits/3 or digits/latest [default: random weights drawn with the seed]
    #[arg(long, value_name = "VERSION", help_heading = "Training", value_parser = args::reference)]
    initial: Option<ModelRef>,

    /// Probability of dropout before the last layer of the network, for instance 0.5 [default: 0; 0.4 in deep]
    #[arg(long, value_name = "P", help_heading = "Training", allow_negative_numbers = true)]
    dropout: Option<f64>,

    #[command(flatten)]
    recipe: RecipeArgs,

    #[command(flatten)]
    optimizer: OptimizerArgs,

    /// Number of epochs [default: 5]
    #[arg(long, value_name = "N", help_heading = "Training", allow_negative_numbers = true)]
    epochs: Option<i32>,

    /// Images in a batch [default: 100]
    #[arg(long, value_name = "N", help_heading = "Training", allow_negative_numbers = true)]
    batch_size: Option<i32>,

    /// Precision of training [default: float32]
    #[arg(long, value_enum, value_name = "PRECISION", help_heading = "Training")]
    precision: Option<PrecisionArg>,

    /// The loss function [default: cross-entropy]
    #[arg(long, value_enum, value_name = "LOSS", help_heading = "Training")]
    loss: Option<LossArg>,

    /// Seed of the initial weights, the order of the images, augmentation and dropout [default: 0]
    #[arg(long, value_name = "N", help_heading = "Training", allow_negative_numbers = true)]
    seed: Option<i32>,

    /// Report every N-th batch [default: 100]
    #[arg(long, value_name = "N", help_heading = "Run", allow_negative_numbers = true)]
    report_every: Option<i32>,

    /// An alias that is moved to the published version, for instance production
    #[arg(long, value_name = "ALIAS", help_heading = "Run")]
    set_alias: Option<String>,

    #[command(flatten)]
    run_options: RunOptionArgs,

    #[command(flatten)]
    stopping: StoppingArgs,

    #[command(flatten)]
    inspect_at: InspectAtArgs,

    #[command(flatten)]
    regularize: RegularizeArgs,

    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Early stopping.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Run")]
struct StoppingArgs {
    /// Stop the run after N validations in a row without an improvement
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    early_stopping: Option<i32>,

    /// Metric of early stopping [default: validation-loss]
    #[arg(long, value_enum, value_name = "METRIC", requires = "early_stopping")]
    early_stopping_metric: Option<MetricArg>,

    /// Smallest change that counts as an improvement [default: 0]
    #[arg(long, value_name = "X", requires = "early_stopping", allow_negative_numbers = true)]
    early_stopping_min_delta: Option<f64>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum MetricArg {
    ValidationLoss,
    ValidationAccuracy,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PrecisionArg {
    Float32,
    /// Double precision, slower; for parity with reference runs
    Float64,
    /// Matrix products in bfloat16, everything else in float32; the speed depends on the processor
    Bfloat16,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LossArg {
    CrossEntropy,
    MeanSquaredError,
}

pub async fn run(args: TrainArgs) -> Result<ExitStatus, Error> {
    let request = args.request()?;
    let format = ProgressFormat::json_or_terminal(args.connection.json);
    // Whoever chooses which batches are reported wants to read them.
    let format = if args.report_every.is_some() { format.with_lines() } else { format };
    let connection = args.connection.open().await?;
    let watched = watch::start(&connection, request, format).await;
    let closed = connection.close().await;
    let watched = watched?;
    closed.map(|()| watched.status)
}

impl TrainArgs {
    fn request(&self) -> Result<TrainRequest, Error> {
        let mut request = match &self.request {
            Some(path) => read_message("TrainRequest", path)?,
            None => TrainRequest::default(),
        };
        self.recipe.apply(&mut request);
        self.run_options.apply(&mut request);
        self.set_data(&mut request);
        self.set_training(&mut request);
        self.optimizer.apply(&mut request)?;
        self.inspect_at.apply(&mut request);
        self.regularize.apply(&mut request);
        set(&mut request.report_every_batches, self.report_every);
        if let Some(model) = &self.model {
            request.model.clone_from(model);
        }
        self.stopping.set(&mut request);
        if let Some(alias) = &self.set_alias {
            request.set_alias.clone_from(alias);
        }
        Ok(request)
    }

    fn set_data(&self, request: &mut TrainRequest) {
        if self.dataset.is_some() || self.dataset_seed.is_some() || self.max_train_images.is_some() {
            let dataset = request.dataset.get_or_insert_default();
            if let Some(name) = &self.dataset {
                dataset.name.clone_from(name);
            }
            set(&mut dataset.seed, self.dataset_seed);
            set(&mut dataset.max_train_images, self.max_train_images);
        }
        if let Some(count) = self.validation_count {
            let validation: &mut Validation = request.validation.get_or_insert_default();
            validation.size = Some(Size::Count(count));
        }
    }

    fn set_training(&self, request: &mut TrainRequest) {
        if let Some(preset) = &self.preset {
            request.network = Some(Network { preset: preset.clone(), ..Network::default() });
        }
        if self.dropout.is_some() {
            let network: &mut Network = request.network.get_or_insert_default();
            set(&mut network.dropout, self.dropout);
        }
        set(&mut request.initial, self.initial.clone());
        set(&mut request.epochs, self.epochs);
        set(&mut request.batch_size, self.batch_size);
        if let Some(precision) = self.precision {
            request.set_precision(precision.into());
        }
        set(&mut request.seed, self.seed);
        if let Some(loss) = self.loss {
            request.loss = Loss::from(loss).into();
        }
    }
}

impl StoppingArgs {
    fn set(&self, request: &mut TrainRequest) {
        if self.early_stopping.is_none() {
            return;
        }
        let rule = request.early_stopping.get_or_insert_default();
        set(&mut rule.patience_evaluations, self.early_stopping);
        set(&mut rule.min_delta, self.early_stopping_min_delta);
        if let Some(metric) = self.early_stopping_metric {
            rule.metric = match metric {
                MetricArg::ValidationLoss => EarlyStoppingMetric::ValidationLoss,
                MetricArg::ValidationAccuracy => EarlyStoppingMetric::ValidationAccuracy,
            }
            .into();
        }
    }
}

impl From<PrecisionArg> for Precision {
    fn from(precision: PrecisionArg) -> Self {
        match precision {
            PrecisionArg::Float32 => Self::Float32,
            PrecisionArg::Float64 => Self::Float64,
            PrecisionArg::Bfloat16 => Self::Bfloat16,
        }
    }
}

impl From<LossArg> for Loss {
    fn from(loss: LossArg) -> Self {
        match loss {
            LossArg::CrossEntropy => Self::CrossEntropy,
            LossArg::MeanSquaredError => Self::MeanSquaredError,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use clap::Parser;

    use super::*;
    use crate::report::json;

    #[derive(Parser)]
    struct TrainLine {
        #[command(flatten)]
        args: TrainArgs,
    }

    /// The request of a command line, as JSON.
    fn request(line: &str) -> String {
        let args =
            TrainLine::try_parse_from(["train"].into_iter().chain(line.split_whitespace())).unwrap().args;
        json::line("TrainRequest", &args.request().unwrap())
    }

    #[test]
    fn without_flags_the_request_is_empty_and_the_server_decides() {
        assert_eq!(request(""), "{}");
    }

    #[test]
    fn every_flag_reaches_its_field() {
        let line = "--model m --dataset synthetic --dataset-seed 1 --max-train-images 2 --validation-count 0 \
                    --preset tutorial --dropout 0.5 --recipe fast --initial m/7 --epochs 3 --batch-size 4 --precision float64 --optimizer momentum --learning-rate 0.5 \
                    --loss mean-squared-error --l1 0.1 --l2 0.2 --seed 5 --report-every 6 --inspect-at 1:401 --set-alias production \
                    --resume 7 --queue --validate-only --early-stopping 8 --early-stopping-metric validation-accuracy \
                    --early-stopping-min-delta 0.3";
        let expected = r#"{"model":"m","dataset":{"name":"synthetic","seed":1,"maxTrainImages":2},"network":{"preset":"tutorial","dropout":0.5},"recipe":"RECIPE_FAST","epochs":3,"batchSize":4,"seed":5,"precision":"PRECISION_FLOAT64","initial":{"name":"m","version":7},"optimizer":{"momentum":{"learningRate":0.5}},"loss":"LOSS_MEAN_SQUARED_ERROR","regularization":{"l1":0.1,"l2":0.2},"earlyStopping":{"metric":"EARLY_STOPPING_METRIC_VALIDATION_ACCURACY","patienceEvaluations":8,"minDelta":0.3},"validation":{"count":0},"reportEveryBatches":6,"inspectAt":[{"epoch":1,"batch":401,"shapes":true,"contents":true}],"setAlias":"production","resumeRunId":"7","queue":true,"validateOnly":true}"#;
        assert_eq!(request(line), expected);
    }

    #[test]
    fn flags_override_the_request_file() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, r#"{{"epochs": 9, "optimizer": {{"sgd": {{"learningRate": 1.5}}}}, "batchSize": 7}}"#)
            .unwrap();
        let path = file.path().display();
        assert_eq!(
            request(&format!("--request {path} --epochs 2 --learning-rate 0.25")),
            r#"{"epochs":2,"batchSize":7,"optimizer":{"sgd":{"learningRate":0.25}}}"#
        );
    }

    #[test]
    fn a_request_file_with_an_unknown_field_is_rejected() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, r#"{{"epoch": 9}}"#).unwrap();
        let path = file.path().to_str().unwrap();
        let error = read_message::<TrainRequest>("TrainRequest", path).unwrap_err().to_string();
        assert!(error.contains("JSON form of TrainRequest") && error.contains("epoch"), "{error}");
    }
}
