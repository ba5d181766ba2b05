//! `digitd data`: the data sets on this machine. Those of one's own are told of by `own`.

mod own;

use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};

use super::{
    Error, Outcome,
    output::{bytes, count},
};
use crate::{
    config::{self, Flags, NamedFolder, PlaceFlags},
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
  digitd data info --json
  digitd data info --dataset-dir letters=/srv/letters")]
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
    ///
    /// Data sets of your own are read: their sizes, classes and SHA-256 are told, or the file and the
    /// place in it that is broken. Exit code 1 where something is missing or broken.
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

    /// A data set of your own: its name, and the folder of its four IDX files or of its PNG pictures,
    /// LABEL/*.png; may be given several times
    #[arg(long = "dataset-dir", value_name = "NAME=FOLDER")]
    sets: Vec<NamedFolder>,

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
    fn settings(&self, sets: &[NamedFolder]) -> Result<config::Data, Error> {
        let place =
            PlaceFlags { data_dir: self.data_dir.clone(), sets: sets.to_vec(), ..PlaceFlags::default() };
        let flags = Flags { config: self.config.clone(), place, ..Flags::default() };
        Ok(config::load(&flags, config::variables())?.data)
    }
}

fn fetch_mnist(args: FetchArgs) -> Result<Outcome, Error> {
    let folder = args.folder.settings(&[])?.dir;
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
    let settings = args.folder.settings(&args.sets)?;
    let own = own::survey(settings.sets);
    let folder = settings.dir;
    let broken = own.iter().any(own::Finding::is_broken);
    let outcome = if broken { Outcome::Failed } else { outcome(&folder) };
    if !args.json {
        let drawn = count(i64::try_from(synthetic::TRAIN_IMAGES).unwrap_or(i64::MAX));
        super::print(&format!(
            "synthetic: built in, {drawn} training images are drawn when they are needed\n"
        ));
        super::print(&own.iter().map(own::Finding::text).collect::<String>());
        tell(&folder)?;
        return Ok(outcome);
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
    let own: Vec<_> = own.iter().map(own::Finding::json).collect();
    let sets = serde_json::json!({ "folder": folder, "mnist": files, "synthetic": "ok", "own": own });
    super::print(&format!("{sets:#}\n"));
    Ok(outcome)
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
