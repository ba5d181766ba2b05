//! Every setting with its meaning, unit and default. The same names are keys of the file
//! (`[serving] max_batch_size`) and variables (`DIGITD_SERVING_MAX_BATCH_SIZE`).

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    engine::{BatchConfig, DeviceChoice},
    ids::DatasetName,
    server::ServerConfig,
    telemetry::LogFormat,
};

/// All settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub server: ServerSettings,
    pub data: Data,
    pub store: Store,
    pub compute: Compute,
    pub serving: Serving,
    pub log: Log,
    pub tensorboard: Tensorboard,
    pub client: Client,
}

/// The addresses and limits of the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSettings {
    /// Address of gRPC. Loopback by default, because callers are not authenticated yet.
    pub grpc_addr: SocketAddr,
    /// Address of metrics and health over HTTP, and of health over gRPC.
    pub http_addr: HttpAddr,
    /// Largest message that is accepted, in bytes.
    pub max_message_bytes: usize,
    /// Largest number of connections of the gRPC port; more are closed at once. The limit of open files may allow
    /// fewer.
    pub max_connections: usize,
    /// How long calls are still served after health reports that the server ends.
    pub drain_delay: TimeSpan,
    /// Longest time to drain open calls when the server shuts down.
    pub drain_timeout: TimeSpan,
}

/// The folders of data sets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Folder with the files of MNIST; they are fetched into it.
    pub dir: PathBuf,
    pub fetch: Fetch,
    /// Custom data sets by name, each a folder with four IDX files or of labelled PNG images. As a
    /// variable:
    /// `DIGITD_DATA_SETS=letters=/srv/letters,shapes=/srv/shapes`.
    pub sets: BTreeMap<DatasetName, PathBuf>,
}

/// Whether a data set that is not on this machine is fetched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Fetch {
    /// Fetch it from a public mirror when a request needs it.
    #[default]
    WhenMissing,
    /// Reject the request and say how to get the data set.
    Never,
}

/// The store of models and runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// A folder, `file:///…`, `s3://bucket/prefix`, or `memory:`, which is not persistent. Endpoint,
    /// region and credentials of a bucket are taken from `AWS_ENDPOINT_URL`, `AWS_REGION`,
    /// `AWS_ACCESS_KEY_ID` and the like.
    pub url: String,
    /// Number of newest versions of a model that are kept, in addition to those with an alias; older ones are
    /// deleted. 0 keeps all.
    pub keep_newest: usize,
}

/// The device and threads of torch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compute {
    /// `auto` is the first CUDA device, or the processor where there is none. A device that is named and cannot
    /// be used is an error at the start.
    #[serde(with = "text")]
    pub device: DeviceChoice,
    /// Threads of an operation in training; 0 means all cores.
    pub threads: usize,
}

/// Workers, batching and cache of predictions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Serving {
    /// Prediction threads, each with a copy of the network; 0 means one per core, or two on a GPU.
    pub workers: usize,
    /// Largest number of images in a forward pass.
    pub max_batch_size: usize,
    /// Longest time the first image of a batch waits for others.
    pub max_queue_delay: TimeSpan,
    /// Largest number of images in the queue; calls beyond it are rejected with QUEUE_FULL.
    pub queue_capacity: usize,
    /// Largest number of loaded versions; the least recently used one is evicted first.
    pub max_loaded_versions: usize,
    pub precision: ServingPrecision,
}

/// Precision of matrix products in predictions; sums are always float32.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ServingPrecision {
    #[default]
    Float32,
    /// Faster on a processor with AVX-512 BF16 or on CUDA; probabilities differ by at most 0.012 on the test
    /// images of MNIST. Elsewhere it is float32.
    Bfloat16,
}

/// The server's log, on standard error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub format: LogFormat,
    /// error, warn, info, debug, trace, or a list by module as in `info,digitd::engine=debug`.
    pub level: String,
}

/// Event files for TensorBoard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tensorboard {
    /// Folder with a folder of event files for each run, or `off`.
    pub dir: String,
}

/// Settings of commands that call a server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// The server to call.
    pub server: String,
}

/// An address, or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HttpAddr {
    Off,
    At(SocketAddr),
}

/// A duration, written as in `500us`, `2ms` or `10s`; `0` for none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeSpan(pub Duration);

impl Default for ServerSettings {
    fn default() -> Self {
        let server = ServerConfig::default();
        Self {
            grpc_addr: server.grpc_addr,
            http_addr: server.http_addr.map_or(HttpAddr::Off, HttpAddr::At),
            max_message_bytes: server.max_message_bytes,
            max_connections: server.max_connections,
            drain_delay: TimeSpan(server.drain_delay),
            drain_timeout: TimeSpan(server.drain_timeout),
        }
    }
}

impl Default for Data {
    fn default() -> Self {
        Self { dir: "data".into(), fetch: Fetch::default(), sets: BTreeMap::new() }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self { url: "store".to_owned(), keep_newest: 0 }
    }
}

impl Default for Serving {
    fn default() -> Self {
        let BatchConfig {
            workers, max_batch_size, max_queue_delay, queue_capacity, max_loaded_versions, ..
        } = BatchConfig::default();
        let (max_queue_delay, precision) = (TimeSpan(max_queue_delay), ServingPrecision::default());
        Self { workers, max_batch_size, max_queue_delay, queue_capacity, max_loaded_versions, precision }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::default(), level: "info".to_owned() }
    }
}

impl Default for Tensorboard {
    fn default() -> Self {
        Self { dir: "off".to_owned() }
    }
}

impl Tensorboard {
    /// The folder; none where event files are off.
    pub fn folder(&self) -> Option<&Path> {
        (self.dir != "off").then(|| Path::new(&self.dir))
    }
}

impl Default for Client {
    fn default() -> Self {
        Self { server: "http://127.0.0.1:8001".to_owned() }
    }
}

impl HttpAddr {
    pub fn get(self) -> Option<SocketAddr> {
        match self {
            Self::Off => None,
            Self::At(addr) => Some(addr),
        }
    }
}

impl FromStr for HttpAddr {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            _ => text
                .parse()
                .map(Self::At)
                .map_err(|_| format!("{text:?} is not an address: write 127.0.0.1:8002, or off")),
        }
    }
}

impl fmt::Display for HttpAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At(addr) => addr.fmt(f),
        }
    }
}

impl FromStr for TimeSpan {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "0" => Ok(Self(Duration::ZERO)),
            _ => humantime::parse_duration(text)
                .map(Self)
                .map_err(|_| format!("{text:?} is not a duration: write 500us, 2ms, 10s or 0")),
        }
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Duration::ZERO => f.write_str("0"),
            delay => humantime::format_duration(delay).fmt(f),
        }
    }
}

macro_rules! text_form {
    ($($type:ident),*) => {$(
        impl TryFrom<String> for $type {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> String {
                value.to_string()
            }
        }
    )*};
}

/// A setting that is written as text.
mod text {
    use std::{fmt::Display, str::FromStr};

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

text_form!(HttpAddr, TimeSpan);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_value_can_be_read_back() {
        for text in ["off", "0.0.0.0:8002", "[::1]:0"] {
            assert_eq!(text.parse::<HttpAddr>().unwrap().to_string(), text);
        }
        for text in ["0", "500us", "2ms"] {
            assert_eq!(text.parse::<TimeSpan>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn an_invalid_value_has_an_example_in_its_message() {
        assert!("8002".parse::<HttpAddr>().unwrap_err().contains("127.0.0.1:8002"));
        assert!("5".parse::<TimeSpan>().unwrap_err().contains("2ms"));
    }
}
