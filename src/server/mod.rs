//! The gRPC server: four services of the contract and the Open Inference Protocol over one engine, health
//! and reflection; and a plain HTTP port for probes and metrics. `convert` is the border: the only files
//! that see both the contract and the rooms.

mod analysis;
mod call;
mod convert;
mod dialogue;
mod evaluation;
mod health;
mod inference;
mod metrics;
mod onnx;
mod phase;
mod prediction;
mod reader;
mod registry;
mod status;
mod training;
mod transfer;

pub use convert::event::from_event as train_event;

use std::{io, net::SocketAddr, pin::pin, time::Duration};

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    codec::CompressionEncoding::Gzip,
    service::Routes,
    transport::server::{Server as Transport, TcpIncoming},
};

use self::{
    analysis::Analysis,
    call::CallLayer,
    health::Readiness,
    inference::Inference,
    metrics::CallMetrics,
    phase::{Life, Phase},
    prediction::Prediction,
    reader::Reader,
    registry::Models,
    training::Training,
};
use crate::{
    engine::Engine,
    pb::{
        FILE_DESCRIPTOR_SET,
        digitd::v1::{
            analysis_service_server::AnalysisServiceServer,
            prediction_service_server::PredictionServiceServer,
            registry_service_server::RegistryServiceServer, training_service_server::TrainingServiceServer,
        },
        inference::grpc_inference_service_server::GrpcInferenceServiceServer,
    },
};

/// How long connections may take to close once every call has ended.
const CLOSING: Duration = Duration::from_secs(1);

/// Calls of one connection that may be under way at once.
const STREAMS_PER_CONNECTION: u32 = 1024;

/// Bytes that a caller may send ahead of the server's reading, for a call and for a connection:
/// wide enough that a bulk of pictures is not held up by the way there and back.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Where and how to serve.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// gRPC. Port 0 takes any free one.
    pub grpc_addr: SocketAddr,
    /// `/metrics`, `/livez`, `/readyz`, and health over gRPC without encryption; none: not served.
    pub http_addr: Option<SocketAddr>,
    /// Largest message that is taken, in bytes. Default 32 MiB, well above the 16 384
    /// packed pictures (12.3 MiB) that a call may bring.
    pub max_message_bytes: usize,
    /// Longest time that calls under way may take to end when the server goes down. Default 10 s.
    pub drain_timeout: Duration,
    /// How often a silent connection is asked whether it is still there; one that does not answer
    /// within 20 s is closed, and its watchers with it. Default 30 s.
    pub keepalive_interval: Duration,
}

impl Default for ServerConfig {
    /// Ports 8001 and 8002 of this machine alone.
    fn default() -> Self {
        Self {
            grpc_addr: SocketAddr::from(([127, 0, 0, 1], 8001)),
            http_addr: Some(SocketAddr::from(([127, 0, 0, 1], 8002))),
            max_message_bytes: 32 << 20,
            drain_timeout: Duration::from_secs(10),
            keepalive_interval: Duration::from_secs(30),
        }
    }
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on {addr}: {source}; choose another address or port")]
    Bind { addr: SocketAddr, source: io::Error },
    #[error("the contract cannot be reflected: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    #[error("serving gRPC failed: {0}")]
    Grpc(#[from] tonic::transport::Error),
    #[error("serving HTTP failed: {0}")]
    Http(io::Error),
}

/// A server whose ports are taken and that does not answer yet.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    engine: Engine,
    grpc: TcpListener,
    http: Option<TcpListener>,
    grpc_addr: SocketAddr,
    http_addr: Option<SocketAddr>,
}

/// Takes the ports. Errors name the address that is not to be had.
pub async fn bind(config: ServerConfig, engine: Engine) -> Result<Server, Error> {
    let (grpc, grpc_addr) = listen(config.grpc_addr).await?;
    let (http, http_addr) = match config.http_addr {
        None => (None, None),
        Some(addr) => {
            let (listener, addr) = listen(addr).await?;
            (Some(listener), Some(addr))
        }
    };
    Ok(Server { config, engine, grpc, http, grpc_addr, http_addr })
}

impl Server {
    /// Where gRPC is served, the port as it was given.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc_addr
    }

    /// Where probes are served.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.http_addr
    }

    /// Serves until `shutdown` comes back, then drains: health says NOT_SERVING, new calls are
    /// refused, the run in progress keeps a checkpoint, calls under way end or are broken off
    /// after `drain_timeout`.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let (phase, life) = Life::begin();
        let readiness = Readiness::new(self.engine.ready(), self.engine.predicts(), life.clone());
        let (reporter, health) = tonic_health::server::health_reporter();
        readiness.report(&reporter).await;
        let routes = routes(&self.config, &self.engine, &readiness)?.add_service(health.clone());

        tokio::spawn(readiness.clone().follow(reporter));

        let closed = CancellationToken::new();
        let incoming = TcpIncoming::from(self.grpc).with_nodelay(Some(true));
        let grpc = transport(&self.config)
            .layer(CallLayer::new(life.clone(), CallMetrics::new(self.engine.metrics().registry())))
            .add_routes(routes)
            .serve_with_incoming_shutdown(incoming, closed.clone().cancelled_owned());
        let pages = readiness.router().merge(metrics::router(self.engine.clone()));
        let pages = pages.merge(Routes::new(health).prepare().into_axum_router());
        let probes = probes(self.http, pages, closed.clone());
        let mut serving =
            pin!(async { tokio::try_join!(async { grpc.await.map_err(Error::Grpc) }, probes).map(drop) });
        tokio::select! {
            result = &mut serving => return result,
            () = shutdown => {}
        }
        phase.send_replace(Phase::Draining);
        // Serving goes on meanwhile: who calls now hears that the server is going down.
        tokio::select! {
            result = &mut serving => return result,
            () = drain(&self.engine, &life, self.config.drain_timeout) => {}
        }
        phase.send_replace(Phase::Closing);
        closed.cancel();
        match tokio::time::timeout(CLOSING, serving).await {
            Ok(result) => result,
            // Connections whose other end does not answer any more.
            Err(_) => Ok(()),
        }
    }
}

async fn listen(addr: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |source| Error::Bind { addr, source };
    let listener = TcpListener::bind(addr).await.map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    Ok((listener, addr))
}

fn transport(config: &ServerConfig) -> Transport {
    Transport::builder()
        .http2_keepalive_interval(Some(config.keepalive_interval))
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
}

/// Every service but health, behind the limit on messages.
fn routes(config: &ServerConfig, engine: &Engine, readiness: &Readiness) -> Result<Routes, Error> {
    let reader = Reader::new(engine.metrics().rejected("decoders_busy"));
    let training = TrainingServiceServer::new(Training::new(engine.clone()));
    let analysis = AnalysisServiceServer::new(Analysis::new(engine.clone(), reader.clone()));
    let life = readiness.life();
    let prediction = Prediction::new(engine.clone(), reader.clone(), life.clone());
    let prediction = PredictionServiceServer::new(prediction);
    let inference = Inference::new(engine.clone(), reader, readiness.clone());
    let inference = GrpcInferenceServiceServer::new(inference);
    let models = RegistryServiceServer::new(Models::new(engine.clone()));
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // So that callers who know of the contract through reflection alone can read error details.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    let limit = config.max_message_bytes;
    Ok(Routes::new(training.max_decoding_message_size(limit).accept_compressed(Gzip))
        .add_service(analysis.max_decoding_message_size(limit).accept_compressed(Gzip))
        .add_service(prediction.max_decoding_message_size(limit).accept_compressed(Gzip))
        .add_service(inference.max_decoding_message_size(limit).accept_compressed(Gzip))
        .add_service(models.max_decoding_message_size(limit).accept_compressed(Gzip))
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?))
}

/// Serves the plain port, where there is one, until `closed`.
async fn probes(
    listener: Option<TcpListener>,
    pages: Router,
    closed: CancellationToken,
) -> Result<(), Error> {
    match listener {
        // Only gRPC ends the server then.
        None => {
            closed.cancelled().await;
            Ok(())
        }
        Some(listener) => axum::serve(listener, pages)
            .with_graceful_shutdown(closed.cancelled_owned())
            .await
            .map_err(Error::Http),
    }
}

/// Comes back when the engine has put its run away and every call has ended, or after `timeout`.
async fn drain(engine: &Engine, life: &Life, timeout: Duration) {
    let ended = async { tokio::join!(engine.shutdown(), life.calls_ended()) };
    if tokio::time::timeout(timeout, ended).await.is_err() {
        tracing::warn!(?timeout, "calls were still under way: they are broken off");
    }
}
