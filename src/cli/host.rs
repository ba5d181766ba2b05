//! A whole server inside this process: store, data, engine and listener, put together from the
//! settings and taken down in order.

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf, sync::Arc, time::Duration};

use tokio::{sync::oneshot, task::JoinHandle};

use super::Error;
use crate::{
    config::{Fetch, ServingPrecision, Settings},
    data::{Catalog, FetchPolicy, fetch::FetchConfig},
    engine::{BatchConfig, Engine, EngineConfig, Observer},
    nn::Precision,
    registry::Registry,
    server::{self, ServerConfig},
    telemetry::TensorBoard,
};

/// Longest wait for event files to be written when the server ends.
const CLOSING: Duration = Duration::from_secs(5);

/// A running server.
pub struct Host {
    pub grpc_addr: SocketAddr,
    pub http_addr: Option<SocketAddr>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), server::Error>>,
    board: Option<Arc<TensorBoard>>,
}

impl Host {
    /// Starts a server. Errors when the store cannot be written, the device cannot be used or a port
    /// is taken.
    pub async fn start(settings: &Settings) -> Result<Self, Error> {
        Self::with_catalog(settings, catalog(settings, Vec::new())).await
    }

    /// The same with data of the caller's choice.
    pub async fn with_catalog(settings: &Settings, catalog: Catalog) -> Result<Self, Error> {
        let registry = Registry::open(&settings.store.url).await?;
        let board = settings.tensorboard.folder().map(|folder| {
            let name = folder.display().to_string();
            TensorBoard::start(folder).map(Arc::new).map_err(Error::io("write event files in", name))
        });
        let board = board.transpose()?;
        let observer = board.clone().map(|board| board as Arc<dyn Observer>);
        let engine = EngineConfig { observer, ..engine_config(settings) };
        let engine = Engine::start(engine, registry, catalog).await?;
        let server = server::bind(server_config(settings), engine).await?;
        let (grpc_addr, http_addr) = (server.grpc_addr(), server.http_addr());
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            // A sender that was dropped asks for the same.
            let _ = stopped.await;
        };
        let task = tokio::spawn(server.run(stopped));
        Ok(Self { grpc_addr, http_addr, stop, task, board })
    }

    /// The address for clients.
    pub fn url(&self) -> String {
        format!("http://{}", reachable(self.grpc_addr))
    }

    /// Takes no new calls, stops a run after its current batch with its checkpoint kept, lets open
    /// calls end, and returns when all of it is done.
    pub async fn stop(self) -> Result<(), Error> {
        // A server that has ended by itself listens no more; its task tells why.
        let _ = self.stop.send(());
        let ended = self.task.await;
        if let Some(board) = self.board {
            // A disk that hangs does not hold up the end.
            let closing = tokio::task::spawn_blocking(move || board.close());
            if tokio::time::timeout(CLOSING, closing).await.is_err() {
                tracing::warn!("the folder of event files is too slow: the last reports are not in it");
            }
        }
        ended.map_err(|_| Error::Panicked("the server"))?.map_err(Error::from)
    }

    /// Returns when the server has ended by itself, which only a failure makes it do.
    pub async fn ended(&mut self) -> Error {
        match (&mut self.task).await {
            Ok(Err(error)) => error.into(),
            Ok(Ok(())) | Err(_) => Error::Panicked("the server"),
        }
    }
}

/// The data sets that the settings name; `more` folders are looked into after the first.
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
        drain_timeout: server.drain_timeout.0,
        ..ServerConfig::default()
    }
}

/// Where a client of this machine reaches a listener: one that listens everywhere is reached at home.
fn reachable(addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], v4.port())),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, v6.port()))
        }
        _ => addr,
    }
}
