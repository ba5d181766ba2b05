//! Flags that several commands share, and the fields of requests that they set.

use clap::{Args, ValueEnum};

use super::{connection::ConnectionArgs, error::Error};
use crate::{
    data,
    pb::digitd::v1::{Dataset, ModelRef, Normalization, Split, get_version_request, model_ref::Which},
};

/// A version of a model.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Version")]
pub struct ModelArgs {
    /// The model [default: digits]; NAME/3 and NAME/ALIAS name its version too
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,

    /// Number of the version [default: the alias production, or the newest version]
    #[arg(long, value_name = "N", conflicts_with = "alias", value_parser = clap::value_parser!(i32).range(1..))]
    pub version: Option<i32>,

    /// Alias that points to the version, for instance latest
    #[arg(long, value_name = "ALIAS")]
    pub alias: Option<String>,
}

/// A split of a data set.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Data")]
pub struct DatasetArgs {
    /// The data set: mnist, synthetic or a custom one [default: the one that the version was trained on]
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<String>,

    /// Seed of the split into training and validation images, and of the images of synthetic [default: file
    /// order]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..), requires = "dataset")]
    pub dataset_seed: Option<i32>,

    /// The split of the data set
    #[arg(long, value_enum, default_value_t)]
    pub split: SplitArg,
}

/// The flags of commands that run a network: images, a version, and a server.
#[derive(Debug, Clone, Args)]
pub struct CommonArgs {
    #[command(flatten)]
    pub dataset: DatasetArgs,

    #[command(flatten)]
    pub model: ModelArgs,

    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// What the history of an alias records of a move.
#[derive(Debug, Clone, Default, Args)]
pub struct AuditArgs {
    /// Reason for the move; recorded in the history
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub reason: String,

    /// Who moves the alias; recorded in the history [default: the variable USER, else this machine's address]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

impl AuditArgs {
    /// Who moves the alias: the user of this machine where none is named.
    pub fn by(&self) -> String {
        self.by.clone().or_else(|| std::env::var("USER").ok()).unwrap_or_default()
    }
}

/// The length of a list, and the server that it is requested from.
#[derive(Debug, Clone, Args)]
pub struct PageArgs {
    /// Largest number of rows, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: i32,

    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// A split of a data set.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum SplitArg {
    Train,
    Validation,
    #[default]
    Test,
}

/// How an image is made similar to the training images.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum NormalizationArg {
    /// The image is used as it is: of the size of the version's images, 28 x 28 for MNIST, light on dark
    None,
    /// The image is scaled to the size of the version's images, as images of a custom data set are
    Scale,
    /// The light strokes are scaled into 20 x 20 and centred by their mass, as in MNIST
    Center,
    /// As center, for photos and scans: strokes of any colour on any background, in uneven light
    Auto,
}

impl ModelArgs {
    /// The reference in a request. Errors where the version is named twice.
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
                reference(named).map_err(|cause| Error::Usage(format!("--model {named} {cause}")))
            }
            (true, Some(_)) => Err(Error::Usage(format!(
                "--model {named} names a version already: leave out --version and --alias"
            ))),
        }
    }

    /// The same in the form of GetVersion: the name, which is empty for the default model, and the version.
    pub fn name_and_version(&self) -> Result<(String, Option<get_version_request::Which>), Error> {
        use get_version_request::Which as GetWhich;
        let ModelRef { name, which } = self.reference()?;
        let which = which.map(|which| match which {
            Which::Version(version) => GetWhich::Version(version),
            Which::Alias(alias) => GetWhich::Alias(alias),
        });
        Ok((name, which))
    }
}

/// A version in one word: `3`, `latest`, `digits/3` or `digits/latest`. The server checks the form of the
/// names.
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
    /// The data set in a request.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_named_by_its_number_or_by_an_alias() {
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
