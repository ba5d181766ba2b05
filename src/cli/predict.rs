//! `digitd predict`: what pictures say.

use super::{
    Error, Outcome,
    args::{NormalizationArg, WorkArgs, read_image},
    host, output,
};
use crate::{
    client,
    config::Settings,
    data::{DatasetSpec, Facts, ImageSet, Split},
    pb::digitd::v1::{Image, Normalization, PredictRequest, image::Form},
};

/// Read digits in pictures
///
/// A picture is a PNG, JPEG, BMP, GIF, WebP or PNM file of any size, or 784 bytes of raw pixels, row
/// by row, 0 background to 255 ink.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  digitd predict seven.png eight.jpg
  curl -s https://example.org/seven.png | digitd predict -
  digitd predict --dataset mnist --index 0 --index 17")]
pub struct Args {
    /// Pictures; `-` reads one from standard input
    #[arg(value_name = "FILE", required_unless_present = "indices")]
    files: Vec<String>,

    /// How pictures are made like the training images [default: auto for files, scale
    /// for versions trained on a data set of your own, none for raw pixels]
    #[arg(long, value_enum, value_name = "HOW")]
    normalization: Option<NormalizationArg>,

    /// How many answers `top` lists with --json, 0 to 100 [default: 0]
    #[arg(long, value_name = "N")]
    top_k: Option<i32>,

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

pub async fn run(args: Args) -> Result<Outcome, Error> {
    let (images, names) = args.pictures().await?;
    let shown: Vec<_> = images.iter().map(seen).collect();
    let request = PredictRequest {
        model: Some(args.work.model.reference()),
        images,
        normalization: args.normalization.map_or(0, |how| Normalization::from(how).into()),
        top_k: args.top_k,
        ..Default::default()
    };
    let answer = args.work.session.with(async |client| Ok(client.predict(request).await?)).await;
    let answer = answer.map_err(|error| naming(error, &names))?;
    let sources: Vec<_> = names.into_iter().zip(shown).collect();
    args.work.session.show("PredictResponse", &answer, |_| output::predictions(&answer, &sources));
    Ok(Outcome::Done)
}

impl Args {
    /// The pictures to send, and their names.
    async fn pictures(&self) -> Result<(Vec<Image>, Vec<String>), Error> {
        if self.indices.is_empty() {
            let images = self.files.iter().map(|path| read_image(path)).collect::<Result<_, _>>()?;
            return Ok((images, self.files.clone()));
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
            (pixels(&set, index), name)
        };
        Ok(self.indices.iter().map(pick).unzip())
    }
}

/// A refusal that speaks of `images[i]`, with the name that the person knows that picture by.
fn naming(error: Error, names: &[String]) -> Error {
    let Error::Client(client::Error::Refused(mut refusal)) = error else { return error };
    let index = |field: &str| field.strip_prefix("images[")?.split_once(']')?.0.parse::<usize>().ok();
    let refused = refusal.fields.iter().find_map(|(field, _)| names.get(index(field)?));
    if let Some(name) = refused {
        refusal.message = format!("{name}: {}", refusal.message);
    }
    Error::Client(client::Error::Refused(refusal))
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

/// The 784 values in [0,1] of a picture that goes out as they are.
pub fn seen(image: &Image) -> Option<Vec<f32>> {
    match &image.form {
        Some(Form::Pixels(pixels)) => Some(pixels.iter().map(|&pixel| f32::from(pixel) / 255.0).collect()),
        Some(Form::Encoded(_) | Form::Floats(_)) | None => None,
    }
}
