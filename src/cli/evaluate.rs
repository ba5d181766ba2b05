//! `digitd evaluate`: how good a version is.

use super::{
    Error, Outcome,
    args::{DatasetArgs, ModelArgs},
    output,
    session::SessionArgs,
};
use crate::pb::digitd::v1::{EvaluateRequest, Split};

/// Measure a version on a part of a data set
///
/// Shows accuracy and loss, precision, recall and F1 of every digit, and the confusion matrix.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  digitd evaluate
  digitd evaluate --version 3 --split validation
  digitd evaluate --dataset mnist --json")]
pub struct Args {
    #[command(flatten)]
    dataset: DatasetArgs,

    /// Images of a forward pass; changes speed, not results [default: 1000]
    #[arg(long, value_name = "N", help_heading = "Data")]
    batch_size: Option<i32>,

    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    session: SessionArgs,
}

pub async fn run(args: Args) -> Result<Outcome, Error> {
    let request = EvaluateRequest {
        model: Some(args.model.reference()?),
        dataset: args.dataset.dataset(),
        split: Split::from(args.dataset.split).into(),
        batch_size: args.batch_size,
    };
    let answer = args.session.with(async |client| Ok(client.evaluate(request).await?)).await?;
    args.session.show("EvaluateResponse", &answer, |ink| output::evaluation(&answer, ink));
    Ok(Outcome::Done)
}
