//! `digitd data`: the data sets on this machine.

use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};

use super::{
    Error, Outcome,
    output::{bytes, count},
};
use crate::{
    config::{self, Flags, PlaceFlags},
    data::{
        fetch::{FetchConfig, fetch},
        mnist::{self, File, Finding},
        synthetic,
    },
};

/// Fetch data sets, and tell which are here
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  digitd data fetch
  digitd data fetch --data-dir /srv/mnist --mirror https://example.org/mnist/
  digitd data info --json")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Fetch the four files of MNIST from a public mirror and check them
    ///
    /// What is there already is kept; a download that broke off is taken up where it ended.
    Fetch(FetchArgs),
    /// Tell which data sets are on this machine, and whether their files are the real ones
    Info(InfoArgs),
}

#[derive(Debug, clap::Args)]
struct FolderArgs {
    /// Folder with the files of MNIST [env: DIGITD_DATA_DIR] [default: data]
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,

    /// TOML file of settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct FetchArgs {
    #[command(flatten)]
    folder: FolderArgs,

    /// A mirror to ask instead of the public ones; a file's name is appended to it
    #[arg(long = "mirror", value_name = "URL")]
    mirrors: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct InfoArgs {
    #[command(flatten)]
    folder: FolderArgs,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(args: Args) -> Result<Outcome, Error> {
    let work = || match args.command {
        Command::Fetch(args) => fetch_mnist(args),
        Command::Info(args) => info(args),
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Panicked("the command"))?
}

impl FolderArgs {
    fn folder(&self) -> Result<PathBuf, Error> {
        let place = PlaceFlags { data_dir: self.data_dir.clone(), ..PlaceFlags::default() };
        let flags = Flags { config: self.config.clone(), place, ..Flags::default() };
        Ok(config::load(&flags, config::variables())?.data.dir)
    }
}

fn fetch_mnist(args: FetchArgs) -> Result<Outcome, Error> {
    let folder = args.folder.folder()?;
    let mut config = FetchConfig::public(&folder);
    if !args.mirrors.is_empty() {
        config.mirrors = args.mirrors;
    }
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{msg} {bar:30.green} {bytes}/{total_bytes} ETA {eta}");
    bar.set_style(style.expect("the template is valid").progress_chars("━╸ "));
    let fetched = fetch(&config, &File::ALL, &mut |at| {
        bar.set_message(at.file.to_owned());
        bar.set_length(at.total.unwrap_or(at.received));
        bar.set_position(at.received);
    });
    bar.finish_and_clear();
    fetched?;
    tell(&folder)
}

fn info(args: InfoArgs) -> Result<Outcome, Error> {
    let folder = args.folder.folder()?;
    if !args.json {
        let drawn = count(i64::try_from(synthetic::TRAIN_IMAGES).unwrap_or(i64::MAX));
        super::print(&format!(
            "synthetic: built in, {drawn} training images are drawn when they are needed\n"
        ));
        return tell(&folder);
    }
    let files: Vec<_> = survey(&folder)
        .iter()
        .map(|(file, finding)| {
            let (state, problem) = match finding {
                Finding::Good(_) => ("ok", None),
                Finding::Missing => ("missing", None),
                Finding::Bad(_, error) => ("broken", Some(error.to_string())),
            };
            serde_json::json!({ "file": file.name(), "state": state, "path": path_of(finding), "problem": problem })
        })
        .collect();
    let sets = serde_json::json!({ "folder": folder, "mnist": files, "synthetic": "ok" });
    super::print(&format!("{sets:#}\n"));
    Ok(outcome(&folder))
}

/// A line for every file of MNIST.
fn tell(folder: &Path) -> Result<Outcome, Error> {
    let mut text = format!("mnist in {}:\n", folder.display());
    for (file, finding) in survey(folder) {
        text += &match &finding {
            Finding::Good(path) => {
                let size = std::fs::metadata(path).map(|about| about.len()).unwrap_or_default();
                format!("  ok       {} ({})\n", path.display(), bytes(size))
            }
            Finding::Missing => format!("  missing  {}: run `digitd data fetch`\n", file.packed_name()),
            Finding::Bad(_, error) => format!("  broken   {error}\n"),
        };
    }
    super::print(&text);
    Ok(outcome(folder))
}

fn survey(folder: &Path) -> Vec<(File, Finding)> {
    mnist::survey(&[folder.to_owned()])
}

fn path_of(finding: &Finding) -> Option<&Path> {
    match finding {
        Finding::Good(path) | Finding::Bad(path, _) => Some(path),
        Finding::Missing => None,
    }
}

fn outcome(folder: &Path) -> Outcome {
    let all_good = survey(folder).iter().all(|(_, finding)| matches!(finding, Finding::Good(_)));
    if all_good { Outcome::Done } else { Outcome::Failed }
}
