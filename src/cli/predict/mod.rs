//! `digitd predict`: the predictions for images, one after another as a stream, so that only a few images
//! are in memory at a time, and one that cannot be read stops no other.

mod image_source;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use self::image_source::{ImageContent, ImageSource, ReadError, expand};
use super::{
    args::{CommonArgs, NormalizationArg},
    embedded_server,
    error::Error,
    exit::ExitStatus,
    input::raw_image,
    terminal,
};
use digitd_client::{Client, Refusal};

use crate::{
    config::Settings,
    data::{DatasetInfo, DatasetSpec, ImageSet, Split},
    pb::digitd::v1::{
        Normalization, PredictError, PredictRequest, PredictStreamRequest, PredictStreamResponse,
        predict_stream_response::Result as StreamResult,
    },
    report::{json, text},
};

/// Classify images
///
/// An image is a PNG, JPEG, BMP, GIF, WebP or PNM file of up to 64 million pixels, or 784 bytes of raw
/// pixels, row by row, 0 background to 255 foreground. An image that cannot be read is reported, and the
/// others are classified; the exit code is then 1.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  digitd predict seven.png eight.jpg
  digitd predict --brief 'scans/**/*.jpg' photos
  digitd predict --model digits/latest --json *.png
  curl -s https://example.org/seven.png | digitd predict -
  digitd predict --dataset mnist --index 0 --index 17")]
pub struct PredictArgs {
    /// Image files, patterns such as 'scans/*.png', and folders of images; `-` reads one from standard
    /// input
    #[arg(value_name = "FILE", required_unless_present = "indices")]
    files: Vec<String>,

    /// How images are made similar to the training images [default: auto for files, scale for versions trained
    /// on a custom data set, none for raw pixels]
    #[arg(long, value_enum, value_name = "HOW")]
    normalization: Option<NormalizationArg>,

    /// How many classes `top` lists with --json, 0 to 100 [default: 0]
    #[arg(long, value_name = "N")]
    top_k: Option<i32>,

    /// Print one line for each image, without the network input and the runners-up
    #[arg(long, conflicts_with = "json", help_heading = "Output")]
    brief: bool,

    /// Classify this image of --dataset (from --data-dir), counted from 0; may be given several times
    #[arg(
        long = "index",
        value_name = "N",
        requires = "dataset",
        conflicts_with = "files",
        help_heading = "Data"
    )]
    indices: Vec<usize>,

    #[command(flatten)]
    common: CommonArgs,
}

/// Images that are read from disk before their responses have come.
const READ_AHEAD: usize = 16;

/// What became of an image, in the order of the images.
enum ImageStatus {
    Sent,
    Unreadable(String, ReadError),
}

pub async fn run(args: PredictArgs) -> Result<ExitStatus, Error> {
    let template = args.template()?;
    let sources = args.sources().await?;
    let total = sources.len();
    let read = async |client: &Client| args.predict_all(client, template, sources).await;
    let failed = args.common.connection.with(read).await?;
    if failed == 0 {
        return Ok(ExitStatus::Success);
    }
    if total > 1 {
        terminal::print_error(&format!("{failed} of {total} images could not be read\n"));
    }
    Ok(ExitStatus::Failure)
}

impl PredictArgs {
    /// The request for every image, without the image.
    fn template(&self) -> Result<PredictRequest, Error> {
        Ok(PredictRequest {
            model: Some(self.common.model.reference()?),
            normalization: self.normalization.map_or(0, |how| Normalization::from(how).into()),
            top_k: self.top_k,
            return_seen_png: !self.brief && !self.common.connection.json,
            ..PredictRequest::default()
        })
    }

    async fn sources(&self) -> Result<Vec<ImageSource>, Error> {
        if self.indices.is_empty() {
            return Ok(self.files.iter().flat_map(|name| expand(name)).collect());
        }
        let dataset = self.common.dataset.dataset().unwrap_or_default();
        let name =
            dataset.name.parse().map_err(|error: crate::ids::Error| Error::Usage(error.to_string()))?;
        let spec = DatasetSpec {
            seed: dataset.seed.map(|seed| u64::from(seed.unsigned_abs())),
            ..DatasetSpec::whole(name)
        };
        let set = load(self.common.connection.settings()?, spec, self.common.dataset.split.into()).await?;
        if let Some(beyond) = self.indices.iter().find(|index| **index >= set.len()) {
            let (name, images) = (&dataset.name, set.len());
            return Err(Error::Usage(format!("--index {beyond} is beyond the {images} images of {name}")));
        }
        let source = |&index: &usize| {
            let label = usize::from(set.label(index));
            let label = set.class_names().get(label).cloned().unwrap_or_else(|| label.to_string());
            let name = format!("{} {index} (label {label})", dataset.name);
            ImageSource { name, content: ImageContent::Image(raw_image(&set, index)) }
        };
        Ok(self.indices.iter().map(source).collect())
    }

    /// Sends all images and shows the responses; returns how many images could not be read. Errors on what
    /// is not the fault of an image.
    async fn predict_all(
        &self,
        client: &Client,
        template: PredictRequest,
        sources: Vec<ImageSource>,
    ) -> Result<usize, Error> {
        let (statuses, mut received) = mpsc::channel(READ_AHEAD);
        let (requests, outgoing) = mpsc::channel(1);
        tokio::spawn(send(sources, template, statuses, requests));
        let mut responses = client.predict_stream(ReceiverStream::new(outgoing)).await?;
        let mut failed = 0;
        while let Some(status) = received.recv().await {
            let response = match status {
                ImageStatus::Sent => responses.message().await.map_err(digitd_client::Error::from)?,
                ImageStatus::Unreadable(request_id, error) => Some(read_error_response(request_id, error)),
            };
            let response = response.ok_or(digitd_client::Error::Incomplete("prediction of every image"))?;
            failed += usize::from(!self.show(response)?);
        }
        Ok(failed)
    }

    /// Shows one response; returns whether it has predictions.
    fn show(&self, response: PredictStreamResponse) -> Result<bool, Error> {
        let is_prediction = match &response.result {
            Some(StreamResult::Response(_)) => true,
            Some(StreamResult::Error(error)) if is_about_the_image(error) => false,
            Some(StreamResult::Error(error)) => return Err(rejected(error)),
            None => return Err(digitd_client::Error::Incomplete("result").into()),
        };
        let name = &response.request_id;
        match &response.result {
            _ if self.common.connection.json => {
                terminal::print(&(json::line("PredictStreamResponse", &response) + "\n"));
            }
            Some(StreamResult::Response(response)) if self.brief => {
                terminal::print(&text::prediction_lines(name, response));
            }
            Some(StreamResult::Response(response)) => terminal::print(&text::predictions(name, response)),
            Some(StreamResult::Error(error)) => {
                terminal::print_error(&format!("{name}: {}\n", without_field(&error.message)))
            }
            None => {}
        }
        Ok(is_prediction)
    }
}

/// Reads the images one after another and sends each.
async fn send(
    sources: Vec<ImageSource>,
    template: PredictRequest,
    statuses: mpsc::Sender<ImageStatus>,
    requests: mpsc::Sender<PredictStreamRequest>,
) {
    for ImageSource { name, content } in sources {
        let read = tokio::task::spawn_blocking(move || content.read()).await;
        let sent = match read.unwrap_or_else(|_| Err(ReadError::new("reading it panicked"))) {
            Err(error) => statuses.send(ImageStatus::Unreadable(name, error)).await.is_ok(),
            Ok(image) => {
                let request = Some(PredictRequest { images: vec![image], ..template.clone() });
                let request = PredictStreamRequest { request_id: name, request };
                statuses.send(ImageStatus::Sent).await.is_ok() && requests.send(request).await.is_ok()
            }
        };
        // The receiver is dropped: the command has failed already.
        if !sent {
            return;
        }
    }
}

/// An image that never reached the server, in the form of its responses.
fn read_error_response(request_id: String, error: ReadError) -> PredictStreamResponse {
    let error = PredictError {
        code: if error.is_missing { Code::NotFound } else { Code::InvalidArgument }.into(),
        message: error.message,
        reason: FILE_UNREADABLE.to_owned(),
    };
    PredictStreamResponse { request_id, result: Some(StreamResult::Error(error)) }
}

const FILE_UNREADABLE: &str = "FILE_UNREADABLE";

/// Whether the error concerns this image alone, so that others may succeed.
fn is_about_the_image(error: &PredictError) -> bool {
    error.reason == FILE_UNREADABLE
        || error.reason == "INVALID_FIELD" && error.message.starts_with("images[0]")
}

/// `images[0].encoded: image is …` without the field, which means nothing to a user who named a file.
fn without_field(message: &str) -> &str {
    match message.split_once(": ") {
        Some((field, rest)) if field.starts_with("images[0]") => rest,
        Some(_) | None => message,
    }
}

fn rejected(error: &PredictError) -> Error {
    let refusal = Refusal {
        code: Code::from(error.code),
        message: error.message.clone(),
        reason: Some(error.reason.clone()).filter(|reason| !reason.is_empty()),
        metadata: Vec::new(),
        fields: Vec::new(),
        resource: None,
        retry_after: None,
    };
    digitd_client::Error::Refused(Box::new(refusal)).into()
}

/// A split of a data set on this machine, read on a thread that may block.
async fn load(settings: Settings, spec: DatasetSpec, split: Split) -> Result<ImageSet, Error> {
    let catalog = embedded_server::catalog(&settings, Vec::new());
    let work = move || {
        catalog.load_split(
            &spec,
            catalog.info(&spec.name)?.validation(DatasetInfo::VALIDATION_DIVISOR),
            split,
        )
    };
    Ok(tokio::task::spawn_blocking(work).await.map_err(|_| Error::Panicked("reading the data set"))??)
}
