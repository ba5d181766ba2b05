//! Client of [digitd](https://docs.rs/digitd), a gRPC service that trains, inspects, registers and serves
//! MNIST classifiers: one method for each call, errors with their details unpacked, and event streams that
//! survive a broken connection. Needs no libtorch, prints nothing and logs nothing.
//!
//! ```no_run
//! use digitd_client::Client;
//! use digitd_client::v1::{Dataset, Image, PredictRequest, TrainRequest, image::Form, train_event::Event};
//!
//! # async fn train_and_predict() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect("http://127.0.0.1:8001").await?;
//!
//! let dataset = Dataset { name: "synthetic".to_owned(), ..Default::default() };
//! let request = TrainRequest { dataset: Some(dataset), epochs: Some(1), ..Default::default() };
//! let mut events = client.train(request).await?;
//! while let Some(event) = events.next().await? {
//!     if let Some(Event::Epoch(epoch)) = event.event {
//!         println!("epoch {}: {:?} of the validation images right", epoch.epoch, epoch.validation_accuracy);
//!     }
//! }
//!
//! // The version that the alias `production` points to reads a PNG file.
//! let image = Image { form: Some(Form::Encoded(std::fs::read("seven.png")?.into())) };
//! let response = client.predict(PredictRequest { images: vec![image], ..Default::default() }).await?;
//! println!("{:?}", response.predictions[0].label);
//! # Ok(())
//! # }
//! ```
//!
//! The messages are in [`v1`]; their comments give the meaning, the unit and the default of each field.
//! Numbers, images and lists keep the limits that are stated there, and the server checks them: a value
//! out of range comes back as [`Error::Refused`] with the field's name.

#![warn(missing_docs)]

mod calls;
mod error;
mod events;

use std::time::Duration;

use tonic::transport::Endpoint;

pub use error::{Error, Refusal};
pub use events::RunEvents;
#[doc(no_inline)]
pub use tonic::{Code, Streaming, transport::Channel};

/// The messages of the contract `digitd.v1` and a plain stub for each of its services. The comments are
/// those of the proto files.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    rustdoc::all,
    reason = "generated code keeps its own style"
)]
pub mod v1 {
    tonic::include_proto!("digitd.v1");
}

/// The messages of the Open Inference Protocol and a plain stub for its service, which digitd serves on
/// the same address: `GrpcInferenceServiceClient::new(client.channel())`.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    rustdoc::all,
    reason = "generated code keeps its own style"
)]
pub mod inference {
    tonic::include_proto!("inference");
}

/// Both contracts with their comments as an encoded `google.protobuf.FileDescriptorSet`, for reflection
/// and for reading messages field by field.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/digitd.bin"));

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Silence on an open call after which a ping goes out, so that a dead server is noticed.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Longest wait for the response to a ping.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest message that is sent or received: an inspection with contents, or a large batch of images.
const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// A connection to a server. Clones share it.
#[derive(Debug, Clone)]
pub struct Client {
    url: String,
    channel: Channel,
}

impl Client {
    /// Connects to a server. `url` looks like `http://127.0.0.1:8001`; without a scheme, http is meant.
    ///
    /// # Errors
    ///
    /// [`Error::Address`] when `url` is no address, and [`Error::Unreachable`] when no server responds
    /// there within five seconds.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        let url = match url.contains("://") {
            true => url.to_owned(),
            false => format!("http://{url}"),
        };
        let endpoint = Endpoint::from_shared(url.clone())
            .map_err(|cause| Error::Address { url: url.clone(), cause: error::root_cause(&cause) })?
            .user_agent(concat!("digitd-client/", env!("CARGO_PKG_VERSION")))
            .map_err(|cause| Error::Address { url: url.clone(), cause: error::root_cause(&cause) })?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT);
        if !matches!(endpoint.uri().scheme_str(), Some("http")) || endpoint.uri().authority().is_none() {
            return Err(Error::Address { url, cause: "only http:// is spoken".to_owned() });
        }
        match endpoint.connect().await {
            Ok(channel) => Ok(Self { url, channel }),
            Err(cause) => Err(Error::Unreachable { url, cause: error::root_cause(&cause) }),
        }
    }

    /// The address of the server, with its scheme.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The connection itself, for the stubs in [`v1`] and [`inference`] and for metadata and deadlines of
    /// single calls. It takes messages of 4 MiB unless a stub is set to take larger ones.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }
}

/// The code in README.md compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
