//! `digitd inspect`: a version, or a run as it trains, layer by layer; what an answer rests on, what is
//! wrong, and how two versions differ.

mod report;

use std::path::PathBuf;

use super::{
    Error, Outcome,
    args::{self, NormalizationArg, WorkArgs, read_image},
    json,
    output::{self, Depth},
    session::SessionArgs,
};
use crate::{
    client::Client,
    pb::digitd::v1::{
        CompareVersionsRequest, CompareVersionsResponse, DatasetIndex, DrawingKind, HealthRequest,
        InspectParametersRequest, InspectRequest, InspectResponse, Normalization, OcclusionRequest, Split,
        ValueForm, inspect_request::Input,
    },
};

/// Show a version, or a run as it trains, layer by layer
///
/// A row for every layer: settings (k kernel, s stride, p padding, g groups), shapes, parameters,
/// multiply-adds, bytes. On request what the layers hold, what an answer rests on, and what is wrong
/// with the network; with --output all of that as a page with pictures.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  digitd inspect
  digitd inspect --contents --layer conv1 --channel 0 --channel 7
  digitd inspect --health --split validation
  digitd inspect --saliency --occlusion --image seven.png
  digitd inspect --compare 1 --version 2
  digitd inspect --parameter conv1.bias
  digitd inspect --output report")]
#[command(group = clap::ArgGroup::new("filled").multiple(true).args(["contents", "output"]))]
#[command(group = clap::ArgGroup::new("over_images").multiple(true).args(["health", "compare", "output"]))]
pub struct Args {
    /// Show this run's newest weights instead of a version; one that trains goes on undisturbed
    #[arg(long, value_name = "RUN", conflicts_with_all = ["model", "version", "alias"], help_heading = "Version")]
    run: Option<String>,

    /// Show what the layers hold
    #[arg(long)]
    contents: bool,

    /// Show the contents of this layer only; may be given several times
    #[arg(long = "layer", value_name = "NAME", requires = "filled")]
    layers: Vec<String>,

    /// Show this channel, counted from 0; may be given several times [default: one drawn by
    /// --channel-seed]
    #[arg(long = "channel", value_name = "N", requires = "filled")]
    channels: Vec<i32>,

    /// Draws the channel where none is chosen [default: 0]
    #[arg(long, value_name = "N", requires = "filled")]
    channel_seed: Option<i32>,

    /// Show every channel
    #[arg(long, requires = "filled", conflicts_with_all = ["channels", "channel_seed"])]
    all_channels: bool,

    /// Images over which the share of zeros is counted [default: 1000]
    #[arg(long, value_name = "N", requires = "filled")]
    sample_images: Option<i32>,

    /// N of the shapes [default: 1]
    #[arg(long, value_name = "N")]
    batch_size: Option<i32>,

    /// Show the gradient of the picture's loss by every parameter
    #[arg(long, help_heading = "What an answer rests on")]
    gradients: bool,

    /// The class that --image shows, for --gradients
    #[arg(long, value_name = "N", requires = "image", help_heading = "What an answer rests on")]
    label: Option<i32>,

    /// Show where more ink would speak for the class, and where against it
    #[arg(long, help_heading = "What an answer rests on")]
    saliency: bool,

    /// Show where covering a part of the picture costs the class its probability
    #[arg(long, help_heading = "What an answer rests on")]
    occlusion: bool,

    /// Pixels on each side of what covers [default: 4]
    #[arg(long, value_name = "N", requires = "occlusion", help_heading = "What an answer rests on")]
    patch_size: Option<i32>,

    /// The class that --saliency and --occlusion are about [default: the one that is answered]
    #[arg(long = "class", value_name = "N", help_heading = "What an answer rests on")]
    target_class: Option<i32>,

    /// Look for what is wrong with the network, over all images of --split
    #[arg(long, help_heading = "What is wrong")]
    health: bool,

    /// Compare with this version: 1, an alias, digits/1 or digits/latest
    #[arg(long, value_name = "VERSION", value_parser = args::reference, conflicts_with = "run", help_heading = "What is wrong")]
    compare: Option<crate::pb::digitd::v1::ModelRef>,

    /// Look at so many images of --split only
    #[arg(long, value_name = "N", requires = "over_images", help_heading = "What is wrong")]
    max_images: Option<i32>,

    /// Print the values of this parameter and nothing else; may be given several times
    #[arg(long = "parameter", value_name = "NAME", help_heading = "Output", conflicts_with_all = [
        "contents", "gradients", "saliency", "occlusion", "health", "compare", "output",
    ])]
    parameters: Vec<String>,

    /// Write everything as a page of HTML with pictures, index.html in this folder
    #[arg(long, value_name = "DIR", conflicts_with = "json", help_heading = "Output")]
    output: Option<PathBuf>,

    /// The picture that goes through the network: a file, or `-` for standard input
    #[arg(long, value_name = "FILE|-", conflicts_with = "index", help_heading = "Data")]
    image: Option<String>,

    /// How that picture is made like the training images [default: auto]
    #[arg(long, value_enum, value_name = "HOW", requires = "image", help_heading = "Data")]
    normalization: Option<NormalizationArg>,

    /// The image of the data set that goes through the network, counted from 0 [default: 0]
    #[arg(long, value_name = "N", help_heading = "Data")]
    index: Option<i32>,

    #[command(flatten)]
    work: WorkArgs,
}

/// Largest answer that is asked for with --output or --all-channels.
const LARGE_ANSWER: i32 = 128 << 20;

/// What a person asked for.
struct Answers {
    inspected: InspectResponse,
    compared: Option<CompareVersionsResponse>,
}

pub async fn run(args: Args) -> Result<Outcome, Error> {
    let session = &args.work.session;
    if !args.parameters.is_empty() {
        let parts = session.with(async |client| args.values(client).await).await?;
        super::print(&parts);
        return Ok(Outcome::Done);
    }
    // Read before anything is asked: a file that is not there is told at once.
    let (request, comparison) = (args.request()?, args.comparison()?);
    let Answers { inspected, compared } = session
        .with(async |client| {
            let inspected = client.inspect(request).await?;
            let compared = match comparison {
                Some(request) => Some(client.compare_versions(request).await?),
                None => None,
            };
            Ok(Answers { inspected, compared })
        })
        .await?;
    if let Some(folder) = &args.output {
        let path = report::write(folder, &inspected, compared.as_ref())?;
        super::print(&format!("{path} shows {}\n", output::subject(&inspected)));
        return Ok(Outcome::Done);
    }
    args.show(session, &inspected, compared.as_ref());
    Ok(Outcome::Done)
}

impl Args {
    fn show(
        &self,
        session: &SessionArgs,
        answer: &InspectResponse,
        compared: Option<&CompareVersionsResponse>,
    ) {
        if session.json
            && let Some(compared) = compared
        {
            // One message is one JSON document; what the comparison is asked beside stands before it.
            super::print(&format!("{}\n", json::text("InspectResponse", answer)));
            super::print(&format!("{}\n", json::text("CompareVersionsResponse", compared)));
            return;
        }
        session.show("InspectResponse", answer, |ink| {
            let names = &answer.class_names;
            let mut parts = vec![output::layer_table(answer, ink)];
            if self.contents {
                parts.push(output::contents(answer, Depth::Full, ink));
            }
            parts.extend(answer.gradients.as_ref().map(|it| output::gradients(it, names, ink)));
            parts.extend(answer.saliency.as_ref().map(|it| output::saliency(it, names)));
            parts.extend(answer.occlusion.as_ref().map(|it| output::occlusion(it, names)));
            parts.extend(answer.health.as_ref().map(|it| output::health(it, ink)));
            parts.extend(compared.map(|it| output::difference(it, ink)));
            parts.join("\n")
        });
    }

    /// With --output everything is asked for that can be.
    fn request(&self) -> Result<InspectRequest, Error> {
        let all = self.output.is_some();
        let input = self.input()?;
        let own = matches!(input, Some(Input::Image(_)));
        let gradients = self.gradients || (all && (!own || self.label.is_some()));
        let occlusion = (self.occlusion || all)
            .then(|| OcclusionRequest { patch_size: self.patch_size, ..OcclusionRequest::default() });
        let health = (self.health || all).then(|| HealthRequest {
            dataset: self.work.dataset.dataset(),
            split: Split::from(self.work.dataset.split).into(),
            max_images: self.max_images,
        });
        let drawings = match all {
            true => DRAWINGS.map(Into::into).to_vec(),
            false => Vec::new(),
        };
        Ok(InspectRequest {
            model: self.run.is_none().then(|| self.work.model.reference()).transpose()?,
            run_id: self.run.clone().unwrap_or_default(),
            input,
            normalization: self.normalization.map_or(0, |how| Normalization::from(how).into()),
            batch_size: self.batch_size,
            contents: self.contents || all,
            layers: self.layers.clone(),
            channels: self.channels.clone(),
            channel_seed: self.channel_seed,
            sample_images: self.sample_images,
            all_channels: self.all_channels,
            histogram_bins: None,
            gradients,
            label: self.label.filter(|_| gradients),
            saliency: self.saliency || all,
            occlusion,
            target_class: self.target_class,
            health,
            drawings,
            max_answer_bytes: (all || self.all_channels).then_some(LARGE_ANSWER),
        })
    }

    fn input(&self) -> Result<Option<Input>, Error> {
        Ok(match &self.image {
            Some(path) => Some(Input::Image(read_image(path)?)),
            None if self.index.is_some() || self.work.dataset.dataset.is_some() => {
                Some(Input::DatasetIndex(DatasetIndex {
                    dataset: self.work.dataset.dataset(),
                    split: Split::from(self.work.dataset.split).into(),
                    index: self.index.unwrap_or_default(),
                }))
            }
            None => None,
        })
    }

    fn comparison(&self) -> Result<Option<CompareVersionsRequest>, Error> {
        let Some(before) = &self.compare else { return Ok(None) };
        Ok(Some(CompareVersionsRequest {
            before: Some(before.clone()),
            after: Some(self.work.model.reference()?),
            dataset: self.work.dataset.dataset(),
            split: Split::from(self.work.dataset.split).into(),
            max_images: self.max_images,
            max_changed: None,
        }))
    }

    /// The values of parameters: a line for each, or the messages as JSON.
    async fn values(&self, client: &Client) -> Result<String, Error> {
        let request = InspectParametersRequest {
            model: self.run.is_none().then(|| self.work.model.reference()).transpose()?,
            run_id: self.run.clone().unwrap_or_default(),
            names: self.parameters.clone(),
            form: ValueForm::Numbers.into(),
            ..InspectParametersRequest::default()
        };
        let parts = client.inspect_parameters(request).await?;
        let mut text = String::new();
        for part in parts {
            if self.work.session.json {
                text += &(json::line("InspectParametersResponse", &part) + "\n");
                continue;
            }
            let first = part.offset.unwrap_or_default();
            if first == 0 {
                text += &format!("{} {}\n", part.parameter, output::shape(&part.shape));
            }
            let width = part.shape.last().map_or(1, |width| (*width).max(1)) as usize;
            for row in part.numbers.chunks(width) {
                let row: Vec<String> = row.iter().map(f64::to_string).collect();
                text += &(row.join(" ") + "\n");
            }
        }
        Ok(text)
    }
}

const DRAWINGS: [DrawingKind; 5] = [
    DrawingKind::Kernels,
    DrawingKind::FeatureMaps,
    DrawingKind::Saliency,
    DrawingKind::Occlusion,
    DrawingKind::Histograms,
];
