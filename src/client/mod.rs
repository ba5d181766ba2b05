//! A typed client of a digitd server: connecting, one method for each call, errors that people can
//! read, and event streams that survive a broken connection. Prints nothing.

mod calls;
mod error;
mod events;

use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

pub use error::{Error, Refusal};
pub use events::Events;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A ping goes out after so long a silence on an open call, so that a dead server is noticed.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Longest wait for the answer to a ping.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest message that is sent or taken: an inspection with contents or a large batch of pictures.
const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// A connection to a server; clones share it.
#[derive(Debug, Clone)]
pub struct Client {
    url: String,
    channel: Channel,
}

impl Client {
    /// Connects to a server. `url` looks like `http://127.0.0.1:8001`; without a scheme, http is
    /// meant.
    ///
    /// Errors when the address is none, or when no server answers there within five seconds.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        let url = match url.contains("://") {
            true => url.to_owned(),
            false => format!("http://{url}"),
        };
        let endpoint = Endpoint::from_shared(url.clone())
            .map_err(|cause| Error::Address { url: url.clone(), cause: error::root(&cause) })?
            .user_agent(concat!("digitd-cli/", env!("CARGO_PKG_VERSION")))
            .map_err(|cause| Error::Address { url: url.clone(), cause: error::root(&cause) })?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT);
        if !matches!(endpoint.uri().scheme_str(), Some("http")) || endpoint.uri().authority().is_none() {
            return Err(Error::Address { url, cause: "only http:// is spoken".to_owned() });
        }
        match endpoint.connect().await {
            Ok(channel) => Ok(Self { url, channel }),
            Err(cause) => Err(Error::Unreachable { url, cause: error::root(&cause) }),
        }
    }

    /// The address of the server.
    pub fn url(&self) -> &str {
        &self.url
    }
}
