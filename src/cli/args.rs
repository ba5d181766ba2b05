//! Flags that several commands share, and what they mean in the contract.

use std::{io::Read as _, path::Path};

use clap::{Args, ValueEnum};

use super::{Error, session::SessionArgs};
use crate::{
    data,
    pb::digitd::v1::{
        Dataset, Image, ModelRef, Normalization, Split, get_version_request, image::Form, model_ref::Which,
    },
};

/// Which version of which model.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Version")]
pub struct ModelArgs {
    /// The model [default: digits]; NAME/3 and NAME/ALIAS name its version too
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,

    /// Its version with this number [default: alias production, or the newest]
    #[arg(long, value_name = "N", conflicts_with = "alias", value_parser = clap::value_parser!(i32).range(1..))]
    pub version: Option<i32>,

    /// Its version that this alias points to, for instance latest
    #[arg(long, value_name = "ALIAS")]
    pub alias: Option<String>,
}

/// Which labelled images.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Data")]
pub struct DatasetArgs {
    /// The data set: mnist, synthetic or one of your own [default: the one that the version was trained on]
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<String>,

    /// Seed of its split, and of the drawing of synthetic [default: file order]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..), requires = "dataset")]
    pub dataset_seed: Option<i32>,

    /// The part of it
    #[arg(long, value_enum, default_value_t)]
    pub split: SplitArg,
}

/// What the commands that compute share: which images, by which version, at which server.
#[derive(Debug, Clone, Args)]
pub struct WorkArgs {
    #[command(flatten)]
    pub dataset: DatasetArgs,

    #[command(flatten)]
    pub model: ModelArgs,

    #[command(flatten)]
    pub session: SessionArgs,
}

/// What the history of an alias keeps of a move.
#[derive(Debug, Clone, Default, Args)]
pub struct NoteArgs {
    /// Why; kept in the history
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub reason: String,

    /// Who moves it; kept in the history [default: the variable USER, else this machine's address]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

impl NoteArgs {
    /// Who says so, the person at this machine where nothing else is told.
    pub fn by(&self) -> String {
        self.by.clone().or_else(|| std::env::var("USER").ok()).unwrap_or_default()
    }
}

/// Which part of a list, and where it is asked for.
#[derive(Debug, Clone, Args)]
pub struct PageArgs {
    /// Most rows, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: i32,

    #[command(flatten)]
    pub session: SessionArgs,
}

/// A part of a data set.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum SplitArg {
    Train,
    Validation,
    #[default]
    Test,
}

/// How a picture is made like the training images.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum NormalizationArg {
    /// Taken as it is: of the version's size, 28 x 28 of MNIST's with light ink on a dark ground
    None,
    /// All of it is scaled to the version's size, as the pictures of a data set of your own
    Scale,
    /// Light ink is scaled into 20 x 20 and centred by its mass
    Center,
    /// As center, for pictures as people have them: ink of any colour on any ground, in uneven light
    Auto,
}

impl ModelArgs {
    /// The reference that a request carries. Errors where a version is named twice.
    pub fn reference(&self) -> Result<ModelRef, Error> {
        let named = self.model.as_deref().unwrap_or_default();
        let which = match (&self.version, &self.alias) {
            (Some(version), _) => Some(Which::Version(*version)),
            (None, Some(alias)) => Some(Which::Alias(alias.clone())),
            (None, None) => None,
        };
        match (named.contains('/'), which) {
            (false, which) => Ok(ModelRef { name: named.to_owned(), which }),
            (true, None) => {
                reference(named).map_err(|problem| Error::Usage(format!("--model {named} {problem}")))
            }
            (true, Some(_)) => Err(Error::Usage(format!(
                "--model {named} names a version already: leave out --version and --alias"
            ))),
        }
    }

    /// The same as GetVersion spells it: the name, which is empty for the default model, and the version.
    pub fn spelt_out(&self) -> Result<(String, Option<get_version_request::Which>), Error> {
        use get_version_request::Which as Spelt;
        let ModelRef { name, which } = self.reference()?;
        let which = which.map(|which| match which {
            Which::Version(version) => Spelt::Version(version),
            Which::Alias(alias) => Spelt::Alias(alias),
        });
        Ok((name, which))
    }
}

/// A version as one word: `3`, `latest`, `digits/3` or `digits/latest`. Whether the names are of
/// their forms is the server's to say.
pub fn reference(text: &str) -> Result<ModelRef, String> {
    let (name, which) = text.rsplit_once('/').unwrap_or(("", text));
    if which.is_empty() {
        return Err("names no version: write 3, latest, digits/3 or digits/latest".to_owned());
    }
    let which = match which.parse() {
        Ok(version) => Which::Version(version),
        Err(_) => Which::Alias(which.to_owned()),
    };
    Ok(ModelRef { name: name.to_owned(), which: Some(which) })
}

impl DatasetArgs {
    /// The data set that a request carries.
    pub fn dataset(&self) -> Option<Dataset> {
        let name = self.dataset.clone()?;
        Some(Dataset { name, seed: self.dataset_seed, max_train_images: None })
    }
}

impl From<SplitArg> for Split {
    fn from(split: SplitArg) -> Self {
        match split {
            SplitArg::Train => Self::Train,
            SplitArg::Validation => Self::Validation,
            SplitArg::Test => Self::Test,
        }
    }
}

impl From<SplitArg> for data::Split {
    fn from(split: SplitArg) -> Self {
        match split {
            SplitArg::Train => Self::Train,
            SplitArg::Validation => Self::Validation,
            SplitArg::Test => Self::Test,
        }
    }
}

impl From<NormalizationArg> for Normalization {
    fn from(normalization: NormalizationArg) -> Self {
        match normalization {
            NormalizationArg::None => Self::None,
            NormalizationArg::Scale => Self::Scale,
            NormalizationArg::Center => Self::Center,
            NormalizationArg::Auto => Self::Auto,
        }
    }
}

/// Number of bytes of a picture of raw pixels.
const PIXELS: usize = 28 * 28;

/// Largest picture that is read from a file or standard input: no server takes a larger one.
const MAX_PICTURE_BYTES: u64 = data::image::MAX_ENCODED_BYTES as u64;

/// A picture from a file, or from standard input where the path is `-`: an image file, or 784 bytes
/// of raw pixels.
pub fn read_image(path: &str) -> Result<Image, Error> {
    let bytes = read(path, MAX_PICTURE_BYTES)?;
    let form = match bytes.len() == PIXELS && !is_encoded(&bytes) {
        true => Form::Pixels(bytes.into()),
        false => Form::Encoded(bytes.into()),
    };
    Ok(Image { form: Some(form) })
}

/// What a file holds, or standard input where the path is `-`; at most `limit` bytes.
pub fn read(path: &str, limit: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let taken = match path {
        "-" => std::io::stdin().lock().take(limit + 1).read_to_end(&mut bytes),
        _ => {
            std::fs::File::open(Path::new(path)).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        }
    };
    let name = if path == "-" { "standard input" } else { path };
    taken.map_err(Error::io("read", name))?;
    if bytes.len() as u64 > limit {
        return Err(Error::Usage(format!("{name} is too large: at most {limit} bytes are read")));
    }
    Ok(bytes)
}

/// Whether bytes begin as a PNG, JPEG, GIF, BMP, WebP or PNM file does.
fn is_encoded(bytes: &[u8]) -> bool {
    let beginnings: [&[u8]; 5] = [b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF"];
    let pnm =
        bytes.len() > 2 && bytes[0] == b'P' && bytes[1].is_ascii_digit() && bytes[2].is_ascii_whitespace();
    pnm || beginnings.iter().any(|beginning| bytes.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(bytes: &[u8]) -> Form {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture");
        std::fs::write(&path, bytes).unwrap();
        read_image(path.to_str().unwrap()).unwrap().form.unwrap()
    }

    #[test]
    fn raw_pixels_are_told_from_image_files() {
        assert!(matches!(form(&[0; PIXELS]), Form::Pixels(_)));
        assert!(matches!(form(b"\x89PNG and so on"), Form::Encoded(_)));
        let mut small = b"P5 28 28 255\n".to_vec();
        small.resize(PIXELS, 0);
        assert!(matches!(form(&small), Form::Encoded(_)));
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = read_image("/nowhere/7.png").unwrap_err().to_string();
        assert!(error.contains("/nowhere/7.png"), "{error}");
    }

    #[test]
    fn a_version_stands_for_itself_and_an_alias_for_what_it_points_to() {
        let args = ModelArgs { version: Some(3), ..Default::default() };
        assert_eq!(args.reference().unwrap().which, Some(Which::Version(3)));
        assert_eq!(reference("3").unwrap(), args.reference().unwrap());
        let args = ModelArgs { model: Some("m".to_owned()), ..args };
        assert_eq!(reference("m/3").unwrap(), args.reference().unwrap());
        let twice = ModelArgs { model: Some("m/3".to_owned()), ..args };
        assert!(twice.reference().unwrap_err().to_string().contains("leave out --version"));
        let once = ModelArgs { version: None, ..twice };
        assert_eq!(once.reference().unwrap(), reference("m/3").unwrap());
        let args = ModelArgs { alias: Some("latest".to_owned()), ..Default::default() };
        assert_eq!(args.reference().unwrap().which, Some(Which::Alias("latest".to_owned())));
        assert_eq!(reference("latest").unwrap(), args.reference().unwrap());
        assert!(reference("digits/").is_err() && reference("").is_err());
    }
}
