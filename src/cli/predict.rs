//! `digitd predict`: what pictures say, one after another as a stream, so that however many there are
//! only a few are in memory, and one that cannot be read stops no other.

mod source;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use self::source::{Source, Unreadable};
use super::{
    Error, Outcome,
    args::{NormalizationArg, WorkArgs},
    host, json, output,
};
use crate::{
    client::{self, Client, Refusal},
    config::Settings,
    data::{DatasetSpec, Facts, ImageSet, Split},
    pb::digitd::v1::{
        Image, Normalization, PredictError, PredictRequest, PredictStreamRequest, PredictStreamResponse,
        image::Form, predict_stream_response::Result as Answer,
    },
};

/// Read digits in pictures
///
/// A picture is a PNG, JPEG, BMP, GIF, WebP or PNM file of up to 4096 x 4096 pixels, or 784 bytes of raw
/// pixels, row by row, 0 background to 255 ink. A picture that cannot be read is told, and the others are
/// read; the exit code is then 1.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  digitd predict seven.png eight.jpg
  digitd predict --brief 'scans/**/*.jpg' photos
  digitd predict --model digits/latest --json *.png
  curl -s https://example.org/seven.png | digitd predict -
  digitd predict --dataset mnist --index 0 --index 17")]
pub struct Args {
    /// Pictures, patterns such as 'scans/*.png', and folders, of which the pictures are read; `-` reads
    /// one from standard input
    #[arg(value_name = "FILE", required_unless_present = "indices")]
    files: Vec<String>,

    /// How pictures are made like the training images [default: auto for files, scale
    /// for versions trained on a data set of your own, none for raw pixels]
    #[arg(long, value_enum, value_name = "HOW")]
    normalization: Option<NormalizationArg>,

    /// How many answers `top` lists with --json, 0 to 100 [default: 0]
    #[arg(long, value_name = "N")]
    top_k: Option<i32>,

    /// A line for each picture, without what the network saw and without the runners-up
    #[arg(long, conflicts_with = "json", help_heading = "Output")]
    brief: bool,

    /// Read this image of --dataset (from --data-dir), counted from 0; may be given several times
    #[arg(
        long = "index",
        value_name = "N",
        requires = "dataset",
        conflicts_with = "files",
        help_heading = "Data"
    )]
    indices: Vec<usize>,

    #[command(flatten)]
    work: WorkArgs,
}

/// Pictures that are read from disk before their answers are there.
const AHEAD: usize = 16;

/// What was done with a picture, in the order of the pictures.
enum Step {
    Asked,
    Unread(String, Unreadable),
}

pub async fn run(args: Args) -> Result<Outcome, Error> {
    let template = args.template()?;
    let sources = args.sources().await?;
    let total = sources.len();
    let read = async |client: &Client| args.read_all(client, template, sources).await;
    let unread = args.work.session.with(read).await?;
    if unread == 0 {
        return Ok(Outcome::Done);
    }
    if total > 1 {
        super::tell(&format!("{unread} of {total} pictures could not be read\n"));
    }
    Ok(Outcome::Failed)
}

impl Args {
    /// The request of every picture, without the picture.
    fn template(&self) -> Result<PredictRequest, Error> {
        Ok(PredictRequest {
            model: Some(self.work.model.reference()?),
            normalization: self.normalization.map_or(0, |how| Normalization::from(how).into()),
            top_k: self.top_k,
            return_seen_png: !self.brief && !self.work.session.json,
            ..PredictRequest::default()
        })
    }

    async fn sources(&self) -> Result<Vec<Source>, Error> {
        if self.indices.is_empty() {
            return Ok(self.files.iter().flat_map(|name| source::expand(name)).collect());
        }
        let dataset = self.work.dataset.dataset().unwrap_or_default();
        let name =
            dataset.name.parse().map_err(|error: crate::ids::Error| Error::Usage(error.to_string()))?;
        let spec = DatasetSpec {
            seed: dataset.seed.map(|seed| u64::from(seed.unsigned_abs())),
            ..DatasetSpec::whole(name)
        };
        let set = load(self.work.session.settings()?, spec, self.work.dataset.split.into()).await?;
        if let Some(beyond) = self.indices.iter().find(|index| **index >= set.len()) {
            let (name, images) = (&dataset.name, set.len());
            return Err(Error::Usage(format!("--index {beyond} is beyond the {images} images of {name}")));
        }
        let pick = |&index: &usize| {
            let label = usize::from(set.label(index));
            let label = set.class_names().get(label).cloned().unwrap_or_else(|| label.to_string());
            let name = format!("{} {index} (label {label})", dataset.name);
            Source { name, content: source::Content::Image(pixels(&set, index)) }
        };
        Ok(self.indices.iter().map(pick).collect())
    }

    /// Reads and shows all; answers how many could not be read. Errors on what no picture is to blame for.
    async fn read_all(
        &self,
        client: &Client,
        template: PredictRequest,
        sources: Vec<Source>,
    ) -> Result<usize, Error> {
        let (steps, mut done) = mpsc::channel(AHEAD);
        let (requests, asked) = mpsc::channel(1);
        tokio::spawn(send(sources, template, steps, requests));
        let mut answers = client.predict_stream(ReceiverStream::new(asked)).await?;
        let mut unread = 0;
        while let Some(step) = done.recv().await {
            let answer = match step {
                Step::Asked => answers.message().await.map_err(client::Error::from)?,
                Step::Unread(request_id, problem) => Some(unanswered(request_id, problem)),
            };
            let answer = answer.ok_or(client::Error::Incomplete("prediction of every picture"))?;
            unread += usize::from(!self.show(answer)?);
        }
        Ok(unread)
    }

    /// Shows one answer; whether it is one.
    fn show(&self, answer: PredictStreamResponse) -> Result<bool, Error> {
        let is_answer = match &answer.result {
            Some(Answer::Response(_)) => true,
            Some(Answer::Error(error)) if is_of_the_picture(error) => false,
            Some(Answer::Error(error)) => return Err(refused(error)),
            None => return Err(client::Error::Incomplete("result").into()),
        };
        let name = &answer.request_id;
        match &answer.result {
            _ if self.work.session.json => {
                super::print(&(json::line("PredictStreamResponse", &answer) + "\n"));
            }
            Some(Answer::Response(response)) if self.brief => super::print(&output::reading(name, response)),
            Some(Answer::Response(response)) => super::print(&output::predictions(name, response)),
            Some(Answer::Error(error)) => {
                super::tell(&format!("{name}: {}\n", without_field(&error.message)))
            }
            None => {}
        }
        Ok(is_answer)
    }
}

/// Reads the pictures one after another and sends each on its way.
async fn send(
    sources: Vec<Source>,
    template: PredictRequest,
    steps: mpsc::Sender<Step>,
    requests: mpsc::Sender<PredictStreamRequest>,
) {
    for Source { name, content } in sources {
        let read = tokio::task::spawn_blocking(move || content.read()).await;
        let sent = match read.unwrap_or_else(|_| Err(Unreadable::new("reading it broke down"))) {
            Err(problem) => steps.send(Step::Unread(name, problem)).await.is_ok(),
            Ok(image) => {
                let request = Some(PredictRequest { images: vec![image], ..template.clone() });
                let request = PredictStreamRequest { request_id: name, request };
                steps.send(Step::Asked).await.is_ok() && requests.send(request).await.is_ok()
            }
        };
        // Nobody waits for the rest: the command has failed already.
        if !sent {
            return;
        }
    }
}

/// What never reached the server, in the form of its answers.
fn unanswered(request_id: String, problem: Unreadable) -> PredictStreamResponse {
    let error = PredictError {
        code: if problem.is_missing { Code::NotFound } else { Code::InvalidArgument }.into(),
        message: problem.message,
        reason: FILE_UNREADABLE.to_owned(),
    };
    PredictStreamResponse { request_id, result: Some(Answer::Error(error)) }
}

const FILE_UNREADABLE: &str = "FILE_UNREADABLE";

/// Whether another picture may well be answered.
fn is_of_the_picture(error: &PredictError) -> bool {
    error.reason == FILE_UNREADABLE
        || error.reason == "INVALID_FIELD" && error.message.starts_with("images[0]")
}

/// `images[0].encoded: picture is …` without the field, which says nothing to whoever named a file.
fn without_field(message: &str) -> &str {
    match message.split_once(": ") {
        Some((field, rest)) if field.starts_with("images[0]") => rest,
        Some(_) | None => message,
    }
}

fn refused(error: &PredictError) -> Error {
    let refusal = Refusal {
        code: Code::from(error.code),
        message: error.message.clone(),
        reason: Some(error.reason.clone()).filter(|reason| !reason.is_empty()),
        metadata: Vec::new(),
        fields: Vec::new(),
        resource: None,
        retry_after: None,
    };
    client::Error::Refused(Box::new(refusal)).into()
}

/// A part of a data set of this machine, read on a thread where that may take its time.
pub async fn load(settings: Settings, spec: DatasetSpec, split: Split) -> Result<ImageSet, Error> {
    let catalog = host::catalog(&settings, Vec::new());
    let work = move || {
        catalog.load_split(&spec, catalog.facts(&spec.name)?.validation(Facts::VALIDATION_DIVISOR), split)
    };
    Ok(tokio::task::spawn_blocking(work).await.map_err(|_| Error::Panicked("reading the data set"))??)
}

/// One image of a set as a picture to send.
pub fn pixels(set: &ImageSet, index: usize) -> Image {
    Image { form: Some(Form::Pixels(set.image(index).to_vec().into())) }
}
