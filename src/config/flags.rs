//! The flags that set settings; a flag that is not given leaves the setting as it is.

use std::{net::SocketAddr, path::PathBuf};

use figment::value::{Dict, Map, Value};

use super::{
    custom_datasets::{self, NamedFolder},
    error::Error,
    settings::{Fetch, HttpAddr, ServingPrecision, TimeSpan},
};
use crate::{engine::DeviceChoice, telemetry::LogFormat};

/// Settings from the command line. Each overrides `DIGITD_SECTION_KEY`, which overrides the file, which
/// overrides the default.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Settings")]
pub struct Flags {
    /// TOML file of settings; `--print-config` shows its format
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Address of gRPC; port 0 chooses a free one. Loopback by default, because callers are not
    /// authenticated: use 0.0.0.0:8001 only in a container or a closed network [default: 127.0.0.1:8001]
    #[arg(long, value_name = "ADDR")]
    pub grpc_addr: Option<SocketAddr>,

    /// Address of metrics and health over HTTP, or `off` [default: 127.0.0.1:8002]
    #[arg(long, value_name = "ADDR|off")]
    pub http_addr: Option<HttpAddr>,

    /// Largest message that is accepted, in bytes [default: 33554432]
    #[arg(long, value_name = "N")]
    pub max_message_bytes: Option<usize>,

    /// Largest number of connections of the gRPC port; more are closed at once. The limit of open files may
    /// allow fewer [default: 10000]
    #[arg(long, value_name = "N")]
    pub max_connections: Option<usize>,

    /// How long calls are still served after health reports that the server ends, so that load balancers
    /// notice it first, as in `5s` [default: 0]
    #[arg(long, value_name = "TIME")]
    pub drain_delay: Option<TimeSpan>,

    /// Longest time to drain open calls when the server shuts down [default: 10s]
    #[arg(long, value_name = "TIME")]
    pub drain_timeout: Option<TimeSpan>,

    #[command(flatten)]
    pub engine: EngineFlags,

    /// Number of newest versions of a model that are kept, in addition to those with an alias; older ones are deleted.
    /// 0 keeps all [default: 0]
    #[arg(long, value_name = "N")]
    pub keep_newest: Option<usize>,

    /// Prediction threads; 0 means one per core, or two on a GPU [default: 0]
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,

    /// Largest number of images in a forward pass [default: 64]
    #[arg(long, value_name = "N")]
    pub max_batch_size: Option<usize>,

    /// Longest time the first image of a batch waits for others, as in 500us or 2ms [default: 0]
    #[arg(long, value_name = "TIME")]
    pub max_queue_delay: Option<TimeSpan>,

    /// Largest number of images in the queue; calls beyond it are rejected. A call with more images than a
    /// forward pass takes queues only that many at a time [default: 512]
    #[arg(long, value_name = "N")]
    pub queue_capacity: Option<usize>,

    /// Largest number of loaded versions; the least recently used one is evicted first [default: 8]
    #[arg(long, value_name = "N")]
    pub max_loaded_versions: Option<usize>,

    /// Precision of matrix products in predictions [default: float32]
    #[arg(long, value_enum, value_name = "PRECISION")]
    pub serving_precision: Option<ServingPrecision>,

    /// Format of the log on standard error [default: text]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,

    /// Level of the log: error, warn, info, debug, trace, or a list by module as in info,digitd::engine=debug
    /// [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,

    /// Folder for the event files of TensorBoard, written while runs train: losses, accuracies, weights,
    /// kernels; or `off` [default: off]
    #[arg(long, value_name = "FOLDER|off", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub tensorboard_dir: Option<String>,
}

/// Settings of the engine: store, data sets, device. An embedded server needs them too.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct EngineFlags {
    /// Folder of models and runs; or a bucket, s3://bucket/prefix, with AWS_ENDPOINT_URL, AWS_REGION and
    /// AWS_ACCESS_KEY_ID from the environment; `memory:` stores nothing permanently [default: store]
    #[arg(long, value_name = "FOLDER|s3://BUCKET")]
    pub store: Option<String>,

    /// Folder with the files of MNIST; they are fetched into it [default: data]
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,

    /// A custom data set: its name, and the folder of its four IDX files or of its PNG images,
    /// LABEL/*.png; may be given several times
    #[arg(long = "dataset-dir", value_name = "NAME=FOLDER")]
    pub sets: Vec<NamedFolder>,

    /// Whether to fetch MNIST if it is missing [default: when-missing]
    #[arg(long, value_enum, value_name = "WHEN")]
    pub fetch: Option<Fetch>,

    /// Device of torch: auto, cpu, cuda or cuda:N [default: auto]
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<DeviceChoice>,

    /// Threads of one operation in training and analyses; 0 means all cores [default: 0]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

impl Flags {
    /// The flags that are given, as sections of keys.
    ///
    /// Errors when two data sets have one name.
    pub(super) fn sections(&self) -> Result<Map<String, Dict>, Error> {
        let text = |value: Option<String>| value.map(Value::from);
        let number = |value: Option<usize>| value.map(Value::from);
        let engine = &self.engine;
        let sets = match &engine.sets[..] {
            [] => None,
            sets => Some(custom_datasets::table("--dataset-dir", sets)?),
        };
        let values = [
            ("server", "grpc_addr", text(self.grpc_addr.map(|addr| addr.to_string()))),
            ("server", "http_addr", text(self.http_addr.map(|addr| addr.to_string()))),
            ("server", "max_message_bytes", number(self.max_message_bytes)),
            ("server", "max_connections", number(self.max_connections)),
            ("server", "drain_delay", text(self.drain_delay.map(|time| time.to_string()))),
            ("server", "drain_timeout", text(self.drain_timeout.map(|time| time.to_string()))),
            ("data", "dir", text(engine.data_dir.as_ref().map(|dir| dir.display().to_string()))),
            ("data", "fetch", text(engine.fetch.map(value_name))),
            ("data", "sets", sets),
            ("store", "url", text(engine.store.clone())),
            ("store", "keep_newest", number(self.keep_newest)),
            ("compute", "device", text(engine.device.map(|device| device.to_string()))),
            ("compute", "threads", number(engine.threads)),
            ("serving", "workers", number(self.workers)),
            ("serving", "max_batch_size", number(self.max_batch_size)),
            ("serving", "max_queue_delay", text(self.max_queue_delay.map(|delay| delay.to_string()))),
            ("serving", "queue_capacity", number(self.queue_capacity)),
            ("serving", "max_loaded_versions", number(self.max_loaded_versions)),
            ("serving", "precision", text(self.serving_precision.map(value_name))),
            ("log", "format", text(self.log_format.map(value_name))),
            ("tensorboard", "dir", text(self.tensorboard_dir.clone())),
            ("log", "level", text(self.log_level.clone())),
        ];
        let mut sections = Map::new();
        for (section, key, value) in values {
            if let Some(value) = value {
                sections.entry(section.to_owned()).or_insert_with(Dict::new).insert(key.to_owned(), value);
            }
        }
        Ok(sections)
    }
}

/// The name of a value on the command line and in the file.
fn value_name(value: impl clap::ValueEnum) -> String {
    let value = value.to_possible_value().expect("no value is hidden");
    value.get_name().to_owned()
}
