//! `digitd models import` and `export`: weights between files and the registry.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::{
    checkpoint,
    cli::{
        Error,
        args::{self, ModelArgs},
        json,
        session::SessionArgs,
    },
    pb::digitd::v1::{
        Dataset, ExportFormat, ExportVersionRequest, ImportMetadata, ImportVersionResponse, ModelVersion,
        Network, WeightsLayout, export_version_request::Which, get_version_request,
    },
};

/// Publish a version from a file of weights
///
/// Takes a safetensors file in float32 or float64: one that `digitd models export` wrote, or a
/// PyTorch state_dict saved with safetensors. Arrays whose names are not the network's are told by
/// their order and shapes, and the mapping is shown; where that leaves a doubt, nothing is
/// published.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  digitd models import weights.safetensors
  digitd models import paddle.safetensors --layout paddle --set-alias production
  digitd models import theirs.safetensors --network layers.json --model theirs

A file of layers is the JSON form of Network:
  {\"layers\": [{\"flatten\": {}}, {\"linear\": {\"outFeatures\": 10}}]}")]
pub struct ImportArgs {
    /// The safetensors file; `-` reads standard input
    #[arg(value_name = "FILE|-")]
    file: String,

    /// The model that gets the version [default: digits]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,

    /// The network: a preset's name, or a file of layers (*.json) [default: tutorial]
    #[arg(long, value_name = "NAME|FILE.json")]
    network: Option<String>,

    /// Rows of pixels of the pictures that it reads [default: 28]
    #[arg(long, value_name = "N")]
    image_height: Option<i32>,

    /// Pixels of each row [default: 28]
    #[arg(long, value_name = "N")]
    image_width: Option<i32>,

    /// How many classes it tells apart [default: as many as there are names, else as the last layer in a
    /// file has outputs, else 10]
    #[arg(long, value_name = "N")]
    classes: Option<i32>,

    /// The name of a class, in the order of the network's outputs; give it once for each
    #[arg(long = "class-name", value_name = "NAME")]
    class_names: Vec<String>,

    /// How the weights of linear layers lie in the file
    #[arg(long, value_enum, value_name = "LAYOUT", default_value_t)]
    layout: LayoutArg,

    /// An alias that is moved to the version, for instance production
    #[arg(long, value_name = "ALIAS")]
    set_alias: Option<String>,

    /// The data set that it was trained on, which `evaluate` and `inspect` then take by default
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,

    #[command(flatten)]
    session: SessionArgs,
}

/// How the weights of linear layers lie in a file.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum LayoutArg {
    /// [out, in], as PyTorch keeps them
    #[default]
    Libtorch,
    /// [in, out], as PaddlePaddle keeps them
    Paddle,
}

/// Write a version to a file
///
/// As safetensors it is the weights under the network's own names, in libtorch's layout: the bytes
/// that the registry keeps, checked against their SHA-256. As ONNX it is the network with them, from
/// `input` [N,1,H,W], each pixel from 0 (background) to 1 (ink), to `probabilities` [N,classes].
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  digitd models export --output digits.safetensors
  digitd models export --format onnx --output digits.onnx
  digitd models export --alias latest --output - | sha256sum")]
pub struct ExportArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// The file to write; `-` writes to standard output
    #[arg(long, short, value_name = "FILE|-")]
    output: PathBuf,

    /// What the file is
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    format: FormatArg,

    #[command(flatten)]
    session: SessionArgs,
}

/// What an exported file is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    /// The weights
    #[default]
    Safetensors,
    /// The network with its weights, for ONNX run-times
    Onnx,
}

/// Largest file of a network's layers.
const MAX_NETWORK_BYTES: u64 = 1 << 20;

pub async fn import(args: ImportArgs) -> Result<(), Error> {
    let file = args::read(&args.file, checkpoint::foreign::MAX_BYTES as u64)?;
    let metadata = args.metadata()?;
    let answer = args.session.with(async |client| Ok(client.import_version(metadata, file).await?)).await?;
    args.session.show("ImportVersionResponse", &answer, |_| imported(&answer));
    Ok(())
}

pub async fn export(args: ExportArgs) -> Result<(), Error> {
    let (name, which) = args.model.spelt_out()?;
    let which = which.map(|which| match which {
        get_version_request::Which::Version(version) => Which::Version(version),
        get_version_request::Which::Alias(alias) => Which::Alias(alias),
    });
    let format = match args.format {
        FormatArg::Safetensors => ExportFormat::Safetensors,
        FormatArg::Onnx => ExportFormat::Onnx,
    };
    let request = ExportVersionRequest { name, which, format: format.into() };
    let (version, file) = args.session.with(async |client| Ok(client.export_version(request).await?)).await?;
    if args.format == FormatArg::Safetensors {
        check(&version, &file)?;
    }
    let path = args.output.display().to_string();
    if path == "-" {
        crate::cli::print_bytes(&file);
        return Ok(());
    }
    std::fs::write(&args.output, &file).map_err(Error::io("write", path.as_str()))?;
    args.session.show("ModelVersion", &version, |_| {
        format!("{} version {}: {} bytes in {path}\n", version.name, version.version, file.len())
    });
    Ok(())
}

/// Whether the weights came as they are kept.
fn check(version: &ModelVersion, weights: &[u8]) -> Result<(), Error> {
    let sha256 = checkpoint::sha256(weights);
    if sha256 == version.weights_sha256 {
        return Ok(());
    }
    Err(Error::Usage(format!("the weights came with SHA-256 {sha256}, not {}", version.weights_sha256)))
}

impl ImportArgs {
    fn metadata(&self) -> Result<ImportMetadata, Error> {
        Ok(ImportMetadata {
            name: self.model.clone().unwrap_or_default(),
            network: self.network.as_deref().map(network).transpose()?,
            layout: match self.layout {
                LayoutArg::Libtorch => WeightsLayout::Libtorch,
                LayoutArg::Paddle => WeightsLayout::Paddle,
            }
            .into(),
            map_names: true,
            set_alias: self.set_alias.clone().unwrap_or_default(),
            dataset: self.dataset.clone().map(|name| Dataset { name, ..Dataset::default() }),
            image_height: self.image_height,
            image_width: self.image_width,
            classes: self.classes,
            class_names: self.class_names.clone(),
        })
    }
}

/// A preset by name, or the layers in a file.
fn network(text: &str) -> Result<Network, Error> {
    if !text.ends_with(".json") {
        return Ok(Network { preset: text.to_owned(), layers: Vec::new() });
    }
    let layers = String::from_utf8(args::read(text, MAX_NETWORK_BYTES)?)
        .map_err(|_| Error::Usage(format!("{text} is not text")))?;
    json::parse("Network", &layers)
        .map_err(|cause| Error::Usage(format!("{text} is not the JSON form of Network: {cause}")))
}

/// The version, and which array became which parameter where the names differ.
fn imported(answer: &ImportVersionResponse) -> String {
    let version = answer.version.clone().unwrap_or_default();
    let foreign = answer.arrays.iter().filter(|array| array.array != array.parameter);
    let mapping: String = foreign
        .map(|array| format!("  {} {:?} from {}\n", array.parameter, array.shape, array.array))
        .collect();
    let aliases = match version.aliases.is_empty() {
        true => String::new(),
        false => format!(" ({})", version.aliases.join(", ")),
    };
    format!("{} version {}{aliases}\n{mapping}", version.name, version.version)
}
