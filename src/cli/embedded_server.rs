//! A whole server in this process: store, data, engine and listener, assembled from the settings and shut
//! down in order.

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf, sync::Arc, time::Duration};

use tokio::{sync::oneshot, task::JoinHandle};

use super::{error::Error, file_limit};
use crate::{
    config::{Fetch, ServingPrecision, Settings},
    data::{Catalog, FetchPolicy, fetch::FetchConfig},
    engine::{BatchConfig, Engine, EngineConfig, Observer},
    nn::Precision,
    registry::Registry,
    server::{self, ServerConfig},
    telemetry::{self, TensorBoard},
};

/// Longest wait for event files to be written when the server stops.
const EVENT_FILES_TIMEOUT: Duration = Duration::from_secs(5);

/// A running server.
pub struct EmbeddedServer {
    pub grpc_addr: SocketAddr,
    pub http_addr: Option<SocketAddr>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), server::Error>>,
    tensorboard: Option<Arc<TensorBoard>>,
}

impl EmbeddedServer {
    /// Starts a server. Errors when the store cannot be written, the device cannot be used or a port
    /// is taken.
    pub async fn start(settings: &Settings) -> Result<Self, Error> {
        Self::with_catalog(settings, catalog(settings, Vec::new())).await
    }

    /// Starts a server with data sets of the caller's choice.
    pub async fn with_catalog(settings: &Settings, catalog: Catalog) -> Result<Self, Error> {
        let registry = Registry::open(&settings.store.url).await?;
        let tensorboard = settings.tensorboard.folder().map(|folder| {
            let name = folder.display().to_string();
            TensorBoard::start(folder).map(Arc::new).map_err(Error::io("write event files in", name))
        });
        let tensorboard = tensorboard.transpose()?;
        let observer = tensorboard.clone().map(|writer| writer as Arc<dyn Observer>);
        let engine = EngineConfig { observer, ..engine_config(settings) };
        let engine = Engine::start(engine, registry, catalog).await?;
        telemetry::register_metrics(engine.metrics().registry()).expect("nobody else has this name");
        let server = server::bind(server_config(settings), engine).await?;
        let (grpc_addr, http_addr) = (server.grpc_addr(), server.http_addr());
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            // A dropped sender means the same.
            let _ = stopped.await;
        };
        let task = tokio::spawn(server.run(stopped));
        Ok(Self { grpc_addr, http_addr, stop, task, tensorboard })
    }

    /// The address for clients.
    pub fn url(&self) -> String {
        format!("http://{}", reachable(self.grpc_addr))
    }

    /// Rejects new calls, interrupts a run after its current batch with a checkpoint, drains open calls, and
    /// returns when all of that is done.
    pub async fn stop(self) -> Result<(), Error> {
        // A server that has failed no longer receives this; its task has the error.
        let _ = self.stop.send(());
        let ended = self.task.await;
        if let Some(writer) = self.tensorboard {
            // A disk that hangs does not block the shutdown.
            let closing = tokio::task::spawn_blocking(move || writer.close());
            if tokio::time::timeout(EVENT_FILES_TIMEOUT, closing).await.is_err() {
                tracing::warn!("the folder of event files is too slow: the last reports are not in it");
            }
        }
        ended.map_err(|_| Error::Panicked("the server"))?.map_err(Error::from)
    }

    /// Returns when the server has failed; nothing else makes it end by itself.
    pub async fn failed(&mut self) -> Error {
        match (&mut self.task).await {
            Ok(Err(error)) => error.into(),
            Ok(Ok(())) | Err(_) => Error::Panicked("the server"),
        }
    }
}

/// The data sets of the settings; MNIST is searched for in `more` folders after the first.
pub fn catalog(settings: &Settings, more: Vec<PathBuf>) -> Catalog {
    let mut folders = vec![settings.data.dir.clone()];
    folders.extend(more);
    let fetch = match settings.data.fetch {
        Fetch::WhenMissing => FetchPolicy::WhenMissing(FetchConfig::public(&settings.data.dir)),
        Fetch::Never => FetchPolicy::Never,
    };
    Catalog::new(folders, fetch).with_sets(settings.data.sets.clone())
}

fn engine_config(settings: &Settings) -> EngineConfig {
    let serving = &settings.serving;
    EngineConfig {
        device: settings.compute.device,
        threads: settings.compute.threads,
        serving: BatchConfig {
            workers: serving.workers,
            max_batch_size: serving.max_batch_size,
            max_queue_delay: serving.max_queue_delay.0,
            queue_capacity: serving.queue_capacity,
            max_loaded_versions: serving.max_loaded_versions,
            precision: match serving.precision {
                ServingPrecision::Float32 => Precision::Float32,
                ServingPrecision::Bfloat16 => Precision::Bfloat16,
            },
        },
        keep_newest: NonZeroUsize::new(settings.store.keep_newest),
        observer: None,
    }
}

fn server_config(settings: &Settings) -> ServerConfig {
    let server = &settings.server;
    ServerConfig {
        grpc_addr: server.grpc_addr,
        http_addr: server.http_addr.get(),
        max_message_bytes: server.max_message_bytes,
        max_connections: server.max_connections.min(file_limit::max_connections()),
        drain_delay: server.drain_delay.0,
        drain_timeout: server.drain_timeout.0,
        ..ServerConfig::default()
    }
}

/// The address at which a client of this machine reaches a listener: loopback for one that listens everywhere.
fn reachable(addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], v4.port())),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, v6.port()))
        }
        _ => addr,
    }
}
