//! `digitd inspect`: a version, or a run as it trains, layer by layer; attributions, findings, and the
//! comparison of two versions.

use std::path::{Path, PathBuf};

use super::{
    args::{self, CommonArgs, NormalizationArg},
    connection::ConnectionArgs,
    error::Error,
    exit::ExitStatus,
    input::read_image,
    terminal,
};
use crate::{
    pb::digitd::v1::{
        CompareVersionsRequest, CompareVersionsResponse, DatasetIndex, DrawingKind, HealthRequest,
        InspectParametersRequest, InspectRequest, InspectResponse, Normalization, OcclusionRequest, Split,
        ValueForm, inspect_request::Input,
    },
    report::{
        html::inspection_page,
        json,
        text::{self, Depth},
    },
};
use digitd_client::Client;

/// Show a version, or a run as it trains, layer by layer
///
/// Shows a row for every layer: settings (k kernel, s stride, p padding, g groups), shapes, parameters,
/// multiply-adds, bytes. On request it shows the contents of the layers, the attributions of a prediction, and
/// findings about the network; with --output all of that as a page with drawings.
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
pub struct InspectArgs {
    /// Show the newest weights of this run instead of a version; training is not disturbed
    #[arg(long, value_name = "RUN", conflicts_with_all = ["model", "version", "alias"], help_heading = "Version")]
    run: Option<String>,

    /// Show the contents of the layers
    #[arg(long)]
    contents: bool,

    /// Show the contents of this layer only; may be given several times
    #[arg(long = "layer", value_name = "NAME", requires = "filled")]
    layers: Vec<String>,

    /// Show this channel, counted from 0; may be given several times [default: one chosen by
    /// --channel-seed]
    #[arg(long = "channel", value_name = "N", requires = "filled")]
    channels: Vec<i32>,

    /// Seed of the choice of a channel [default: 0]
    #[arg(long, value_name = "N", requires = "filled")]
    channel_seed: Option<i32>,

    /// Show every channel
    #[arg(long, requires = "filled", conflicts_with_all = ["channels", "channel_seed"])]
    all_channels: bool,

    /// Images over which the fraction of zeros is counted [default: 1000]
    #[arg(long, value_name = "N", requires = "filled")]
    sample_images: Option<i32>,

    /// Batch size N in the shapes, bytes and multiply-adds [default: 1]
    #[arg(long, value_name = "N")]
    batch_size: Option<i32>,

    /// Show the gradient of the image's loss with respect to every parameter
    #[arg(long, help_heading = "Attribution")]
    gradients: bool,

    /// The label of --image, for --gradients
    #[arg(long, value_name = "N", requires = "image", help_heading = "Attribution")]
    label: Option<i32>,

    /// Show the saliency map: the pixels that raise and lower the logit of the class
    #[arg(long, help_heading = "Attribution")]
    saliency: bool,

    /// Show the occlusion map: the probability that the class loses where a patch covers the image
    #[arg(long, help_heading = "Attribution")]
    occlusion: bool,

    /// Pixels on each side of the patch [default: 4]
    #[arg(long, value_name = "N", requires = "occlusion", help_heading = "Attribution")]
    patch_size: Option<i32>,

    /// The class of --saliency and --occlusion [default: the predicted one]
    #[arg(long = "class", value_name = "N", help_heading = "Attribution")]
    target_class: Option<i32>,

    /// Examine the health of the network over all images of --split, and list findings
    #[arg(long, help_heading = "Findings and comparison")]
    health: bool,

    /// Compare with this version: 1, an alias, digits/1 or digits/latest
    #[arg(long, value_name = "VERSION", value_parser = args::reference, conflicts_with = "run", help_heading = "Findings and comparison")]
    compare: Option<crate::pb::digitd::v1::ModelRef>,

    /// Use only the first so many images of --split
    #[arg(long, value_name = "N", requires = "over_images", help_heading = "Findings and comparison")]
    max_images: Option<i32>,

    /// Print the values of this parameter and nothing else; may be given several times
    #[arg(long = "parameter", value_name = "NAME", help_heading = "Output", conflicts_with_all = [
        "contents", "gradients", "saliency", "occlusion", "health", "compare", "output",
    ])]
    parameters: Vec<String>,

    /// Write everything as a page of HTML with drawings, index.html in this folder
    #[arg(long, value_name = "DIR", conflicts_with = "json", help_heading = "Output")]
    output: Option<PathBuf>,

    /// The image to run the network on: a file, or `-` for standard input
    #[arg(long, value_name = "FILE|-", conflicts_with = "index", help_heading = "Data")]
    image: Option<String>,

    /// How --image is made similar to the training images [default: auto]
    #[arg(long, value_enum, value_name = "HOW", requires = "image", help_heading = "Data")]
    normalization: Option<NormalizationArg>,

    /// The image of the data set to run the network on, counted from 0 [default: 0]
    #[arg(long, value_name = "N", help_heading = "Data")]
    index: Option<i32>,

    #[command(flatten)]
    common: CommonArgs,
}

/// Largest response that --output and --all-channels accept, in bytes.
const MAX_RESPONSE_BYTES: i32 = 128 << 20;

pub async fn run(args: InspectArgs) -> Result<ExitStatus, Error> {
    let connection = &args.common.connection;
    if !args.parameters.is_empty() {
        let parts = connection.with(async |client| args.values(client).await).await?;
        terminal::print(&parts);
        return Ok(ExitStatus::Success);
    }
    // Files are read before the server is called, so that a missing one is reported at once.
    let (request, comparison_request) = (args.request()?, args.comparison()?);
    let (inspection, comparison) = connection
        .with(async |client| {
            let inspection = client.inspect(request).await?;
            let comparison = match comparison_request {
                Some(request) => Some(client.compare_versions(request).await?),
                None => None,
            };
            Ok((inspection, comparison))
        })
        .await?;
    match &args.output {
        Some(folder) => {
            let path = write_page(folder, &inspection_page(&inspection, comparison.as_ref()))?;
            terminal::print(&format!("{path} shows {}\n", text::subject(&inspection)));
        }
        None => args.show(connection, &inspection, comparison.as_ref()),
    }
    Ok(ExitStatus::Success)
}

impl InspectArgs {
    fn show(
        &self,
        connection: &ConnectionArgs,
        response: &InspectResponse,
        comparison: Option<&CompareVersionsResponse>,
    ) {
        if connection.json
            && let Some(comparison) = comparison
        {
            // Two messages are two JSON documents, the inspection first.
            terminal::print(&format!("{}\n", json::text("InspectResponse", response)));
            terminal::print(&format!("{}\n", json::text("CompareVersionsResponse", comparison)));
            return;
        }
        connection.show("InspectResponse", response, |layout| {
            let names = &response.class_names;
            let mut parts = vec![text::layer_table(response, layout)];
            if self.contents {
                parts.push(text::contents(response, Depth::Full, layout));
            }
            parts.extend(response.gradients.as_ref().map(|it| text::gradients(it, names, layout)));
            parts.extend(response.saliency.as_ref().map(|it| text::saliency(it, names)));
            parts.extend(response.occlusion.as_ref().map(|it| text::occlusion(it, names)));
            parts.extend(response.health.as_ref().map(|it| text::health(it, layout)));
            parts.extend(comparison.map(|it| text::version_comparison(it, layout)));
            parts.join("\n")
        });
    }

    /// The request; with --output it asks for everything.
    fn request(&self) -> Result<InspectRequest, Error> {
        let all = self.output.is_some();
        let input = self.input()?;
        let supplies_image = matches!(input, Some(Input::Image(_)));
        let gradients = self.gradients || (all && (!supplies_image || self.label.is_some()));
        let occlusion = (self.occlusion || all)
            .then(|| OcclusionRequest { patch_size: self.patch_size, ..OcclusionRequest::default() });
        let health = (self.health || all).then(|| HealthRequest {
            dataset: self.common.dataset.dataset(),
            split: Split::from(self.common.dataset.split).into(),
            max_images: self.max_images,
        });
        let drawings = match all {
            true => DRAWINGS.map(Into::into).to_vec(),
            false => Vec::new(),
        };
        Ok(InspectRequest {
            model: self.run.is_none().then(|| self.common.model.reference()).transpose()?,
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
            max_answer_bytes: (all || self.all_channels).then_some(MAX_RESPONSE_BYTES),
        })
    }

    fn input(&self) -> Result<Option<Input>, Error> {
        Ok(match &self.image {
            Some(path) => Some(Input::Image(read_image(path)?)),
            None if self.index.is_some() || self.common.dataset.dataset.is_some() => {
                Some(Input::DatasetIndex(DatasetIndex {
                    dataset: self.common.dataset.dataset(),
                    split: Split::from(self.common.dataset.split).into(),
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
            after: Some(self.common.model.reference()?),
            dataset: self.common.dataset.dataset(),
            split: Split::from(self.common.dataset.split).into(),
            max_images: self.max_images,
            max_changed: None,
        }))
    }

    /// The values of parameters as text, or the messages as JSON.
    async fn values(&self, client: &Client) -> Result<String, Error> {
        let request = InspectParametersRequest {
            model: self.run.is_none().then(|| self.common.model.reference()).transpose()?,
            run_id: self.run.clone().unwrap_or_default(),
            names: self.parameters.clone(),
            form: ValueForm::Numbers.into(),
            ..InspectParametersRequest::default()
        };
        let chunks = client.inspect_parameters(request).await?;
        Ok(match self.common.connection.json {
            true => {
                chunks.iter().map(|chunk| json::line("InspectParametersResponse", chunk) + "\n").collect()
            }
            false => text::parameter_values(&chunks),
        })
    }
}

/// Writes `index.html` into a folder, which is created where it is missing; returns its path.
fn write_page(folder: &Path, page: &str) -> Result<String, Error> {
    std::fs::create_dir_all(folder).map_err(Error::io("create the folder", folder.display().to_string()))?;
    let path = folder.join("index.html");
    let name = path.display().to_string();
    std::fs::write(&path, page).map_err(Error::io("write", name.clone()))?;
    Ok(name)
}

const DRAWINGS: [DrawingKind; 5] = [
    DrawingKind::Kernels,
    DrawingKind::FeatureMaps,
    DrawingKind::Saliency,
    DrawingKind::Occlusion,
    DrawingKind::Histograms,
];
