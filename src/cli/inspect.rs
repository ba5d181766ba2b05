//! `digitd inspect`: a version layer by layer.

use super::{
    Error, Outcome,
    args::{NormalizationArg, WorkArgs, read_image},
    output::{self, Depth},
};
use crate::pb::digitd::v1::{DatasetIndex, InspectRequest, Normalization, Split, inspect_request::Input};

/// Show a version layer by layer
///
/// A row for every layer: hyper-parameters, output shape, parameters, multiply-adds. With --contents
/// also what the layers hold: statistics, a kernel and an output channel as pictures, the share of
/// zeros over a sample, and channels that are dead.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  digitd inspect
  digitd inspect --contents --layer conv1 --channel 0 --channel 7
  digitd inspect --contents --image seven.png")]
pub struct Args {
    /// Show what the layers hold
    #[arg(long)]
    contents: bool,

    /// Show the contents of this layer only; may be given several times
    #[arg(long = "layer", value_name = "NAME", requires = "contents")]
    layers: Vec<String>,

    /// Show this channel, counted from 0; may be given several times [default: one drawn by
    /// --channel-seed]
    #[arg(long = "channel", value_name = "N", requires = "contents")]
    channels: Vec<i32>,

    /// Draws the channel where none is chosen [default: 0]
    #[arg(long, value_name = "N", requires = "contents")]
    channel_seed: Option<i32>,

    /// Images over which the share of zeros is counted [default: 1000]
    #[arg(long, value_name = "N", requires = "contents")]
    sample_images: Option<i32>,

    /// N of the shapes [default: 1]
    #[arg(long, value_name = "N")]
    batch_size: Option<i32>,

    /// The picture that goes through the network: a file, or `-` for standard input
    #[arg(
        long,
        value_name = "FILE|-",
        requires = "contents",
        conflicts_with = "index",
        help_heading = "Data"
    )]
    image: Option<String>,

    /// How that picture is made like the training images [default: auto]
    #[arg(long, value_enum, value_name = "HOW", requires = "image", help_heading = "Data")]
    normalization: Option<NormalizationArg>,

    /// The image of the data set that goes through the network, counted from 0 [default: 0]
    #[arg(long, value_name = "N", requires = "contents", help_heading = "Data")]
    index: Option<i32>,

    #[command(flatten)]
    work: WorkArgs,
}

pub async fn run(args: Args) -> Result<Outcome, Error> {
    let request = args.request()?;
    let answer = args.work.session.with(async |client| Ok(client.inspect(request).await?)).await?;
    args.work.session.show("InspectResponse", &answer, |ink| {
        let mut text = output::layer_table(&answer, ink);
        if args.contents {
            text.push('\n');
            text += &output::contents(&answer, Depth::Full, ink);
        }
        text
    });
    Ok(Outcome::Done)
}

impl Args {
    fn request(&self) -> Result<InspectRequest, Error> {
        let input = match &self.image {
            Some(path) => Some(Input::Image(read_image(path)?)),
            None if self.index.is_some() || self.work.dataset.dataset.is_some() => {
                Some(Input::DatasetIndex(DatasetIndex {
                    dataset: self.work.dataset.dataset(),
                    split: Split::from(self.work.dataset.split).into(),
                    index: self.index.unwrap_or_default(),
                }))
            }
            None => None,
        };
        Ok(InspectRequest {
            model: Some(self.work.model.reference()?),
            input,
            normalization: self.normalization.map_or(0, |how| Normalization::from(how).into()),
            batch_size: self.batch_size,
            contents: self.contents,
            layers: self.layers.clone(),
            channels: self.channels.clone(),
            channel_seed: self.channel_seed,
            sample_images: self.sample_images,
        })
    }
}
