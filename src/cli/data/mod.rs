//! `digitd data`: the data sets on this machine. `custom` inspects custom data sets.

mod custom;

use std::path::{Path, PathBuf};

use custom::CustomDataset;
use indicatif::{ProgressBar, ProgressStyle};

use super::{error::Error, exit::ExitStatus, terminal};
use crate::{
    config::{self, EngineFlags, Flags, NamedFolder},
    data::{
        fetch::{FetchConfig, fetch},
        mnist::{self, File, FileStatus},
        synthetic,
    },
    report::text::{bytes, count},
};

/// Fetch data sets, and list those on this machine
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  digitd data fetch
  digitd data fetch --data-dir /srv/mnist --mirror https://example.org/mnist/
  digitd data info --json
  digitd data info --dataset-dir letters=/srv/letters")]
pub struct DataArgs {
    #[command(subcommand)]
    command: DataCommand,
}

#[derive(Debug, clap::Subcommand)]
enum DataCommand {
    /// Fetch the four files of MNIST from a public mirror and check them
    ///
    /// Files that exist are kept; an interrupted download is resumed.
    Fetch(FetchArgs),
    /// List the data sets on this machine, and check their files
    ///
    /// Custom data sets are read: their sizes, classes and SHA-256 are shown, or the file and the position
    /// in it that is broken. The exit code is 1 if something is missing or broken.
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

    /// A mirror to use instead of the public ones; the names of files are appended to it
    #[arg(long = "mirror", value_name = "URL")]
    mirrors: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct InfoArgs {
    #[command(flatten)]
    folder: FolderArgs,

    /// A custom data set: its name, and the folder of its four IDX files or of its PNG images,
    /// LABEL/*.png; may be given several times
    #[arg(long = "dataset-dir", value_name = "NAME=FOLDER")]
    sets: Vec<NamedFolder>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(args: DataArgs) -> Result<ExitStatus, Error> {
    let work = || match args.command {
        DataCommand::Fetch(args) => fetch_mnist(args),
        DataCommand::Info(args) => info(args),
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Panicked("the command"))?
}

impl FolderArgs {
    fn settings(&self, sets: &[NamedFolder]) -> Result<config::Data, Error> {
        let engine =
            EngineFlags { data_dir: self.data_dir.clone(), sets: sets.to_vec(), ..EngineFlags::default() };
        let flags = Flags { config: self.config.clone(), engine, ..Flags::default() };
        Ok(config::load(&flags, config::variables())?.data)
    }
}

fn fetch_mnist(args: FetchArgs) -> Result<ExitStatus, Error> {
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
    print_mnist(&folder)
}

fn info(args: InfoArgs) -> Result<ExitStatus, Error> {
    let settings = args.folder.settings(&args.sets)?;
    let custom = custom::read_all(settings.sets);
    let folder = settings.dir;
    let broken = custom.iter().any(CustomDataset::is_broken);
    let status = if broken { ExitStatus::Failure } else { mnist_status(&folder) };
    if !args.json {
        let images = count(i64::try_from(synthetic::TRAIN_IMAGES).unwrap_or(i64::MAX));
        terminal::print(&format!("synthetic: built in, {images} training images are generated on demand\n"));
        terminal::print(&custom.iter().map(CustomDataset::text).collect::<String>());
        print_mnist(&folder)?;
        return Ok(status);
    }
    let files: Vec<_> = survey(&folder)
        .iter()
        .map(|(file, finding)| {
            let (state, problem) = match finding {
                FileStatus::Good(_) => ("ok", None),
                FileStatus::Missing => ("missing", None),
                FileStatus::Bad(_, error) => ("broken", Some(error.to_string())),
            };
            serde_json::json!({ "file": file.name(), "state": state, "path": path_of(finding), "problem": problem })
        })
        .collect();
    let custom: Vec<_> = custom.iter().map(CustomDataset::json).collect();
    let sets = serde_json::json!({ "folder": folder, "mnist": files, "synthetic": "ok", "own": custom });
    terminal::print(&format!("{sets:#}\n"));
    Ok(status)
}

/// Prints a line for every file of MNIST.
fn print_mnist(folder: &Path) -> Result<ExitStatus, Error> {
    let mut text = format!("mnist in {}:\n", folder.display());
    for (file, finding) in survey(folder) {
        text += &match &finding {
            FileStatus::Good(path) => {
                let size = std::fs::metadata(path).map(|metadata| metadata.len()).unwrap_or_default();
                format!("  ok       {} ({})\n", path.display(), bytes(size))
            }
            FileStatus::Missing => format!("  missing  {}: run `digitd data fetch`\n", file.packed_name()),
            FileStatus::Bad(_, error) => format!("  broken   {error}\n"),
        };
    }
    terminal::print(&text);
    Ok(mnist_status(folder))
}

fn survey(folder: &Path) -> Vec<(File, FileStatus)> {
    mnist::survey(&[folder.to_owned()])
}

fn path_of(finding: &FileStatus) -> Option<&Path> {
    match finding {
        FileStatus::Good(path) | FileStatus::Bad(path, _) => Some(path),
        FileStatus::Missing => None,
    }
}

fn mnist_status(folder: &Path) -> ExitStatus {
    let all_good = survey(folder).iter().all(|(_, finding)| matches!(finding, FileStatus::Good(_)));
    if all_good { ExitStatus::Success } else { ExitStatus::Failure }
}
