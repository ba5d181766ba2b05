//! The gRPC server: the four services of the contract and the Open Inference Protocol over one engine, health
//! and reflection, and an HTTP port for probes and metrics. The files in `convert` are the only ones that see
//! both the contract and the rooms.

mod analysis;
mod bidi_stream;
mod convert;
mod decode_pool;
mod evaluation_stream;
mod health;
mod inference;
mod lifecycle;
mod listener;
mod metrics;
mod middleware;
mod onnx;
mod prediction;
mod registry;
mod status;
mod training;
mod transfer;

pub use convert::training::event::from_event as train_event;

use std::{io, net::SocketAddr, pin::pin, time::Duration};

use axum::{
    Router, extract::ConnectInfo, http::StatusCode, middleware::Next, response::Response, routing::get,
};
use tokio_util::sync::CancellationToken;
use tonic::{
    codec::CompressionEncoding::Gzip, server::NamedService, service::Routes,
    transport::server::Server as Transport,
};

use self::{
    analysis::AnalysisApi,
    decode_pool::DecodePool,
    health::Readiness,
    inference::InferenceApi,
    lifecycle::{Phase, Shutdown},
    listener::{ConnectionInfo, Listener},
    metrics::CallMetrics,
    middleware::CallLayer,
    prediction::PredictionApi,
    registry::RegistryApi,
    training::TrainingApi,
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
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Most concurrent calls of one connection.
const STREAMS_PER_CONNECTION: u32 = 1024;

/// Calls of one connection that their caller may have cancelled before the server saw them. Every call may be among
/// them where a deadline is short, and a caller that opens and cancels calls without end is still cut off.
const PENDING_RESETS_PER_CONNECTION: usize = STREAMS_PER_CONNECTION as usize;

/// Most connections of the HTTP port, which has few callers. They are apart from those of gRPC, so that probes are
/// answered when gRPC has no connection left.
const HTTP_CONNECTIONS: usize = 64;

/// The flow-control windows of a call and of a connection, in bytes: wide enough that a large request does
/// not wait for round trips.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Where and how to serve.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The address of gRPC. Port 0 means any free port.
    pub grpc_addr: SocketAddr,
    /// The address of `/metrics`, `/livez`, `/readyz` and unencrypted health over gRPC; `None` serves none of
    /// them.
    pub http_addr: Option<SocketAddr>,
    /// Largest message that the server accepts, in bytes. Default 32 MiB, well above the 16 384 packed images
    /// (12.3 MiB) of the largest call.
    pub max_message_bytes: usize,
    /// Most connections of the gRPC port at once; more are closed as soon as they are accepted. Default 10 000.
    pub max_connections: usize,
    /// How long calls are still served after health reports NOT_SERVING, so that load balancers stop choosing this
    /// server before it rejects calls. Default 0.
    pub drain_delay: Duration,
    /// Longest time that calls may take to end while the server drains. Default 10 s.
    pub drain_timeout: Duration,
    /// How often an idle connection gets a keepalive ping. If it does not respond within 20 s, it is closed,
    /// and its watches with it. Default 30 s.
    pub keepalive_interval: Duration,
}

impl Default for ServerConfig {
    /// The ports 8001 and 8002 of the loopback interface.
    fn default() -> Self {
        Self {
            grpc_addr: SocketAddr::from(([127, 0, 0, 1], 8001)),
            http_addr: Some(SocketAddr::from(([127, 0, 0, 1], 8002))),
            max_message_bytes: 32 << 20,
            max_connections: 10_000,
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(10),
            keepalive_interval: Duration::from_secs(30),
        }
    }
}

/// Why a server does not start or fails.
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

/// A server that has bound its ports and does not serve yet.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    engine: Engine,
    grpc: Listener,
    http: Option<Listener>,
}

/// Binds the ports. Errors name the address that cannot be bound.
pub async fn bind(config: ServerConfig, engine: Engine) -> Result<Server, Error> {
    let grpc = listen(config.grpc_addr, config.max_connections).await?;
    let http = match config.http_addr {
        None => None,
        Some(addr) => Some(listen(addr, HTTP_CONNECTIONS).await?),
    };
    Ok(Server { config, engine, grpc, http })
}

impl Server {
    /// The address of gRPC, with the actual port.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc.addr()
    }

    /// The address of the probes and metrics, with the actual port.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(Listener::addr)
    }

    /// Serves until `stop` completes. Health reports NOT_SERVING from then on, and after `drain_delay` the server
    /// drains: new calls are rejected, the current run saves a checkpoint, and calls end or are interrupted after
    /// `drain_timeout`.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), Error> {
        let (phase, shutdown) = Shutdown::begin();
        let readiness = Readiness::new(self.engine.ready(), self.engine.can_predict(), shutdown.clone());
        let (reporter, health) = tonic_health::server::health_reporter();
        readiness.report(&reporter).await;
        let routes = routes(&self.config, &self.engine, &readiness)?.add_service(health.clone());

        tokio::spawn(readiness.clone().follow(reporter));

        let closed = CancellationToken::new();
        let grpc = transport(&self.config)
            .layer(CallLayer::new(shutdown.clone(), CallMetrics::new(self.engine.metrics().registry())))
            .add_routes(routes)
            .serve_with_incoming_shutdown(self.grpc.connections(), closed.clone().cancelled_owned());
        let pages = http_routes(&readiness, self.engine.clone(), health);
        let probes = probes(self.http, pages, closed.clone());
        let mut serving =
            pin!(async { tokio::try_join!(async { grpc.await.map_err(Error::Grpc) }, probes).map(drop) });
        tokio::select! {
            result = &mut serving => return result,
            () = stop => {}
        }
        if !self.config.drain_delay.is_zero() {
            phase.send_replace(Phase::Withdrawn);
            tokio::select! {
                result = &mut serving => return result,
                () = tokio::time::sleep(self.config.drain_delay) => {}
            }
        }
        phase.send_replace(Phase::Draining);
        // The server still accepts connections meanwhile, so that new calls are rejected as draining.
        tokio::select! {
            result = &mut serving => return result,
            () = drain(&self.engine, &shutdown, self.config.drain_timeout) => {}
        }
        phase.send_replace(Phase::Closing);
        closed.cancel();
        match tokio::time::timeout(CLOSE_TIMEOUT, serving).await {
            Ok(result) => result,
            // The peers of the remaining connections do not respond any more.
            Err(_) => Ok(()),
        }
    }
}

async fn listen(addr: SocketAddr, max_connections: usize) -> Result<Listener, Error> {
    Listener::bind(addr, max_connections).await.map_err(|source| Error::Bind { addr, source })
}

fn transport(config: &ServerConfig) -> Transport {
    Transport::builder()
        .http2_keepalive_interval(Some(config.keepalive_interval))
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS_PER_CONNECTION))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
}

/// All services but health, with the limit on messages.
fn routes(config: &ServerConfig, engine: &Engine, readiness: &Readiness) -> Result<Routes, Error> {
    let pool = DecodePool::new(engine.metrics().rejected("decoders_busy"));
    let training = TrainingServiceServer::new(TrainingApi::new(engine.clone()));
    let analysis = AnalysisServiceServer::new(AnalysisApi::new(engine.clone(), pool.clone()));
    let shutdown = readiness.shutdown();
    let prediction = PredictionApi::new(engine.clone(), pool.clone(), shutdown.clone());
    let prediction = PredictionServiceServer::new(prediction);
    let inference = InferenceApi::new(engine.clone(), pool, readiness.clone());
    let inference = GrpcInferenceServiceServer::new(inference);
    let models = RegistryServiceServer::new(RegistryApi::new(engine.clone()));
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // Callers that know the contract through reflection alone can then decode error details.
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

/// The index of the HTTP port.
const HTTP_INDEX: &str = "\
digitd
/livez    whether the process responds
/readyz   whether it accepts calls (also /healthz)
/metrics  metrics in the text format of Prometheus
grpc.health.v1.Health is served here too, unencrypted
";

/// What the HTTP port serves: probes, metrics, health over gRPC, and for every other path a 404, so that a probe of a
/// mistyped path fails.
fn http_routes<H>(readiness: &Readiness, engine: Engine, health: H) -> Router
where
    H: tower::Service<http::Request<axum::body::Body>, Error = std::convert::Infallible> + NamedService,
    H: Clone + Send + Sync + 'static,
    H::Response: axum::response::IntoResponse,
    H::Future: Send,
{
    readiness
        .clone()
        .router()
        .merge(metrics::router(engine))
        .route_service(&format!("/{}/{{*method}}", H::NAME), health)
        .route("/", get(|| async { HTTP_INDEX }))
        .fallback(|| async { (StatusCode::NOT_FOUND, format!("not found; there is:\n{HTTP_INDEX}")) })
        .layer(axum::middleware::from_fn(note_request))
}

/// Notes on its connection that a request has come.
async fn note_request(
    ConnectInfo(connection): ConnectInfo<ConnectionInfo>,
    request: axum::extract::Request,
    next: Next,
) -> Response {
    connection.note_request();
    next.run(request).await
}

/// Serves the HTTP port, if there is one, until `closed`.
async fn probes(listener: Option<Listener>, pages: Router, closed: CancellationToken) -> Result<(), Error> {
    match listener {
        // Only gRPC ends the server in this case.
        None => {
            closed.cancelled().await;
            Ok(())
        }
        Some(listener) => {
            axum::serve(listener, pages.into_make_service_with_connect_info::<ConnectionInfo>())
                .with_graceful_shutdown(closed.cancelled_owned())
                .await
                .map_err(Error::Http)
        }
    }
}

/// Waits until the engine has saved its run and every call has ended, or until `timeout` has passed.
async fn drain(engine: &Engine, shutdown: &Shutdown, timeout: Duration) {
    let ended = async { tokio::join!(engine.shutdown(), shutdown.all_calls_ended()) };
    if tokio::time::timeout(timeout, ended).await.is_err() {
        tracing::warn!(?timeout, "the drain timeout has passed: interrupting the remaining calls");
    }
}
