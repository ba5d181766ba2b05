//! `digitd models import` and `export`: weights between files and the registry.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::{
    checkpoint,
    cli::{
        args::ModelArgs,
        connection::ConnectionArgs,
        error::Error,
        input::{read, read_message},
        terminal,
    },
    pb::digitd::v1::{
        Dataset, ExportFormat, ExportVersionRequest, ImportMetadata, ModelVersion, Network, WeightsLayout,
        export_version_request::Which, get_version_request,
    },
    report::text,
};

/// Publish a version from a file of weights
///
/// Takes a safetensors file in float32 or float64: one that `digitd models export` wrote, or a
/// PyTorch state_dict saved with safetensors. Arrays whose names are not the network's are mapped by
/// their order and shapes, and the mapping is shown; if it is ambiguous, nothing is published.
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

    /// Height of its images in pixels [default: 28]
    #[arg(long, value_name = "N")]
    image_height: Option<i32>,

    /// Width of its images in pixels [default: 28]
    #[arg(long, value_name = "N")]
    image_width: Option<i32>,

    /// Number of classes [default: as many as there are names, else as the last layer in a file has
    /// outputs, else 10]
    #[arg(long, value_name = "N")]
    classes: Option<i32>,

    /// The name of a class, in the order of the network's outputs; give it once for each
    #[arg(long = "class-name", value_name = "NAME")]
    class_names: Vec<String>,

    /// Layout of the weights of linear layers in the file
    #[arg(long, value_enum, value_name = "LAYOUT", default_value_t)]
    layout: LayoutArg,

    /// An alias that is moved to the version, for instance production
    #[arg(long, value_name = "ALIAS")]
    set_alias: Option<String>,

    /// The data set that it was trained on, the default of `evaluate` and `inspect`
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,

    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Layout of the weights of linear layers in a file.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum LayoutArg {
    /// [out, in], as in PyTorch
    #[default]
    Libtorch,
    /// [in, out], as in PaddlePaddle
    Paddle,
}

/// Write a version to a file
///
/// A safetensors file has the weights under the network's own names, in libtorch's layout: the bytes of the
/// registry, checked against their SHA-256. An ONNX file has the network with its weights, from `input`
/// [N,1,H,W], each pixel from 0 (background) to 1 (foreground), to `probabilities` [N,classes].
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

    /// Format of the file
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    format: WeightsFormatArg,

    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Format of an exported file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum WeightsFormatArg {
    /// The weights
    #[default]
    Safetensors,
    /// The network with its weights, for ONNX runtimes
    Onnx,
}

pub async fn import(args: ImportArgs) -> Result<(), Error> {
    let file = read(&args.file, checkpoint::import::MAX_BYTES as u64)?;
    let metadata = args.metadata()?;
    let response =
        args.connection.with(async |client| Ok(client.import_version(metadata, file).await?)).await?;
    args.connection.show("ImportVersionResponse", &response, |_| text::imported_version(&response));
    Ok(())
}

pub async fn export(args: ExportArgs) -> Result<(), Error> {
    let (name, which) = args.model.name_and_version()?;
    let which = which.map(|which| match which {
        get_version_request::Which::Version(version) => Which::Version(version),
        get_version_request::Which::Alias(alias) => Which::Alias(alias),
    });
    let format = match args.format {
        WeightsFormatArg::Safetensors => ExportFormat::Safetensors,
        WeightsFormatArg::Onnx => ExportFormat::Onnx,
    };
    let request = ExportVersionRequest { name, which, format: format.into() };
    let (version, file) =
        args.connection.with(async |client| Ok(client.export_version(request).await?)).await?;
    if args.format == WeightsFormatArg::Safetensors {
        check(&version, &file)?;
    }
    let path = args.output.display().to_string();
    if path == "-" {
        terminal::print_bytes(&file);
        return Ok(());
    }
    std::fs::write(&args.output, &file).map_err(Error::io("write", path.as_str()))?;
    args.connection.show("ModelVersion", &version, |_| {
        format!("{} version {}: {} bytes in {path}\n", version.name, version.version, file.len())
    });
    Ok(())
}

/// Errors where the weights are not those of the registry.
fn check(version: &ModelVersion, weights: &[u8]) -> Result<(), Error> {
    let sha256 = checkpoint::sha256(weights);
    if sha256 == version.weights_sha256 {
        return Ok(());
    }
    Err(Error::Usage(format!("the weights have SHA-256 {sha256}, not {}", version.weights_sha256)))
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
        return Ok(Network { preset: text.to_owned(), ..Network::default() });
    }
    read_message("Network", text)
}
