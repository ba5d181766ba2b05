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
    pub server: Server,
    pub data: Data,
    pub store: Store,
    pub compute: Compute,
    pub serving: Serving,
    pub log: Log,
    pub tensorboard: Tensorboard,
    pub client: Client,
}

/// Where the server listens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// gRPC. Loopback by default, because nobody is asked for a password yet.
    pub grpc_addr: SocketAddr,
    /// Metrics and health over HTTP, and health over gRPC.
    pub http_addr: HttpAddr,
    /// Largest message that is taken, in bytes.
    pub max_message_bytes: usize,
    /// Longest time that calls under way may take to end when the server goes down.
    pub drain_timeout: Time,
}

/// Where data sets lie.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Folder with the files of MNIST; fetched files are put there.
    pub dir: PathBuf,
    pub fetch: Fetch,
    /// Data sets of your own by name, each a folder with four IDX files or of labelled PNG
    /// pictures. As a variable:
    /// `DIGITD_DATA_SETS=letters=/srv/letters,shapes=/srv/shapes`.
    pub sets: BTreeMap<DatasetName, PathBuf>,
}

/// What to do about a data set that is not on this machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Fetch {
    /// Fetch it from a public mirror when a request needs it.
    #[default]
    WhenMissing,
    /// Refuse the request and say how to get it.
    Never,
}

/// Where models and runs are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// A folder, `file:///…`, `s3://bucket/prefix`, or `memory:` for nothing to be kept. Endpoint,
    /// region and credentials of a bucket are taken from `AWS_ENDPOINT_URL`, `AWS_REGION`,
    /// `AWS_ACCESS_KEY_ID` and the like.
    pub url: String,
    /// Versions of a model that stay, beside those that an alias points to; older ones are deleted. 0
    /// keeps all.
    pub keep_newest: usize,
}

/// Where torch computes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compute {
    /// `auto` is the first CUDA device, or where there is none the processor; a device that is asked
    /// for by name and cannot be used stops the start.
    #[serde(with = "text")]
    pub device: DeviceChoice,
    /// Threads of one training step; 0 for all cores.
    pub threads: usize,
}

/// How predictions are batched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Serving {
    /// Threads that predict, each with a copy of the network; 0 for one for each core, or two on a GPU.
    pub workers: usize,
    /// Most images of one forward pass.
    pub max_batch_size: usize,
    /// Longest time the first image of a batch waits for others.
    pub max_queue_delay: Time,
    /// Most images that wait; more are refused with QUEUE_FULL.
    pub queue_capacity: usize,
    /// Most versions that stay loaded; the least recently used one goes first.
    pub max_loaded_versions: usize,
    pub precision: ServingPrecision,
}

/// What predictions multiply in; sums are float32 always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ServingPrecision {
    #[default]
    Float32,
    /// On a processor with AVX-512 BF16 or on CUDA: quicker, and probabilities differ by 0.012 at most on
    /// MNIST's test images. Elsewhere as float32.
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
    /// Folder in which every run gets one of its own, or `off`.
    pub dir: String,
}

/// What the commands that call a server take as given.
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
pub struct Time(pub Duration);

impl Default for Server {
    fn default() -> Self {
        let ServerConfig { grpc_addr, http_addr, max_message_bytes, drain_timeout, .. } =
            ServerConfig::default();
        let http_addr = http_addr.map_or(HttpAddr::Off, HttpAddr::At);
        Self { grpc_addr, http_addr, max_message_bytes, drain_timeout: Time(drain_timeout) }
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
        let (max_queue_delay, precision) = (Time(max_queue_delay), ServingPrecision::default());
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
    /// The folder; None where no event files are wanted.
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
                .map_err(|_| format!("{text:?} is no address: write 127.0.0.1:8002, or off")),
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

impl FromStr for Time {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "0" => Ok(Self(Duration::ZERO)),
            _ => humantime::parse_duration(text)
                .map(Self)
                .map_err(|_| format!("{text:?} is no time: write 500us, 2ms, 10s or 0")),
        }
    }
}

impl fmt::Display for Time {
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

text_form!(HttpAddr, Time);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_reads_back() {
        for text in ["off", "0.0.0.0:8002", "[::1]:0"] {
            assert_eq!(text.parse::<HttpAddr>().unwrap().to_string(), text);
        }
        for text in ["0", "500us", "2ms"] {
            assert_eq!(text.parse::<Time>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_value_that_is_none_says_what_would_be_one() {
        assert!("8002".parse::<HttpAddr>().unwrap_err().contains("127.0.0.1:8002"));
        assert!("5".parse::<Time>().unwrap_err().contains("2ms"));
    }
}
