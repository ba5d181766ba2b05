//! The flags that set settings; a flag that is not given leaves the setting as it is.

use std::{net::SocketAddr, path::PathBuf};

use figment::value::{Dict, Map, Value};

use super::{
    sets::NamedFolder,
    settings::{Fetch, HttpAddr, ServingPrecision, Time},
};
use crate::{engine::DeviceChoice, telemetry::LogFormat};

/// Settings from the command line. Each stands over `DIGITD_SECTION_KEY`, that over the file, that
/// over the default.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Settings")]
pub struct Flags {
    /// TOML file of settings; `--print-config` shows its form
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Address of gRPC; port 0 takes a free one. Loopback by default, since no password is asked
    /// for: use 0.0.0.0:8001 only in a container or a closed network [default: 127.0.0.1:8001]
    #[arg(long, value_name = "ADDR")]
    pub grpc_addr: Option<SocketAddr>,

    /// Address of metrics and health over HTTP, or `off` [default: 127.0.0.1:8002]
    #[arg(long, value_name = "ADDR|off")]
    pub http_addr: Option<HttpAddr>,

    /// Largest message that is taken, in bytes [default: 33554432]
    #[arg(long, value_name = "N")]
    pub max_message_bytes: Option<usize>,

    /// Longest time that calls under way may take to end when the server goes down [default: 10s]
    #[arg(long, value_name = "TIME")]
    pub drain_timeout: Option<Time>,

    #[command(flatten)]
    pub place: PlaceFlags,

    /// Versions of a model that stay, beside those that an alias points to; older ones are deleted.
    /// 0 keeps all [default: 0]
    #[arg(long, value_name = "N")]
    pub keep_newest: Option<usize>,

    /// Threads that predict; 0 for one for each core, or two on a GPU [default: 0]
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,

    /// Most images of one forward pass [default: 64]
    #[arg(long, value_name = "N")]
    pub max_batch_size: Option<usize>,

    /// Longest time the first image of a batch waits for others, as in 500us or 2ms [default: 0]
    #[arg(long, value_name = "TIME")]
    pub max_queue_delay: Option<Time>,

    /// Most images that wait; more are refused. Of a call that is larger than a forward pass only as many as
    /// one takes wait at a time [default: 512]
    #[arg(long, value_name = "N")]
    pub queue_capacity: Option<usize>,

    /// Most versions that stay loaded; the least recently used one goes first [default: 8]
    #[arg(long, value_name = "N")]
    pub max_loaded_versions: Option<usize>,

    /// What predictions multiply in [default: float32]
    #[arg(long, value_enum, value_name = "PRECISION")]
    pub serving_precision: Option<ServingPrecision>,

    /// Form of the log on standard error [default: text]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,

    /// error, warn, info, debug, trace, or a list by module as in info,digitd::engine=debug
    /// [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,

    /// Folder for TensorBoard's event files, written while runs train: losses, accuracies, weights,
    /// kernels; or `off` [default: off]
    #[arg(long, value_name = "FOLDER|off", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub tensorboard_dir: Option<String>,
}

/// Where things lie and where torch computes: what a server inside a command needs, too.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct PlaceFlags {
    /// Folder of models and runs; or a bucket, s3://bucket/prefix, reached as AWS_ENDPOINT_URL,
    /// AWS_REGION and AWS_ACCESS_KEY_ID say; `memory:` keeps nothing [default: store]
    #[arg(long, value_name = "FOLDER|s3://BUCKET")]
    pub store: Option<String>,

    /// Folder with the files of MNIST; fetched files are put there [default: data]
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,

    /// A data set of your own: its name, and the folder of its four IDX files or of its PNG pictures,
    /// LABEL/*.png; may be given several times
    #[arg(long = "dataset-dir", value_name = "NAME=FOLDER")]
    pub sets: Vec<NamedFolder>,

    /// Fetch a data set that is missing [default: when-missing]
    #[arg(long, value_enum, value_name = "WHEN")]
    pub fetch: Option<Fetch>,

    /// Where torch computes: auto, cpu, cuda or cuda:N [default: auto]
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<DeviceChoice>,

    /// Threads of an operation in training and analyses; 0 for all cores [default: 0]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

impl Flags {
    /// The flags that are given, as sections of keys.
    ///
    /// Errors when two data sets have one name.
    pub(super) fn sections(&self) -> Result<Map<String, Dict>, super::Error> {
        let text = |value: Option<String>| value.map(Value::from);
        let number = |value: Option<usize>| value.map(Value::from);
        let place = &self.place;
        let sets = match &place.sets[..] {
            [] => None,
            sets => Some(super::sets::table("--dataset-dir", sets)?),
        };
        let given = [
            ("server", "grpc_addr", text(self.grpc_addr.map(|addr| addr.to_string()))),
            ("server", "http_addr", text(self.http_addr.map(|addr| addr.to_string()))),
            ("server", "max_message_bytes", number(self.max_message_bytes)),
            ("server", "drain_timeout", text(self.drain_timeout.map(|time| time.to_string()))),
            ("data", "dir", text(place.data_dir.as_ref().map(|dir| dir.display().to_string()))),
            ("data", "fetch", text(place.fetch.map(word))),
            ("data", "sets", sets),
            ("store", "url", text(place.store.clone())),
            ("store", "keep_newest", number(self.keep_newest)),
            ("compute", "device", text(place.device.map(|device| device.to_string()))),
            ("compute", "threads", number(place.threads)),
            ("serving", "workers", number(self.workers)),
            ("serving", "max_batch_size", number(self.max_batch_size)),
            ("serving", "max_queue_delay", text(self.max_queue_delay.map(|delay| delay.to_string()))),
            ("serving", "queue_capacity", number(self.queue_capacity)),
            ("serving", "max_loaded_versions", number(self.max_loaded_versions)),
            ("serving", "precision", text(self.serving_precision.map(word))),
            ("log", "format", text(self.log_format.map(word))),
            ("tensorboard", "dir", text(self.tensorboard_dir.clone())),
            ("log", "level", text(self.log_level.clone())),
        ];
        let mut sections = Map::new();
        for (section, key, value) in given {
            if let Some(value) = value {
                sections.entry(section.to_owned()).or_insert_with(Dict::new).insert(key.to_owned(), value);
            }
        }
        Ok(sections)
    }
}

/// A value's name on the command line, which is its name in the file.
fn word(value: impl clap::ValueEnum) -> String {
    let value = value.to_possible_value().expect("no value is hidden");
    value.get_name().to_owned()
}
