//! Health, as the service of gRPC and on the HTTP port (`/livez`, `/readyz`, `/healthz`). The server is ready from when
//! the engine accepts work until it drains. The prediction services, and the server as a whole, also wait for
//! the first model; `/readyz` does not, because a load balancer that waited for it would never send the call
//! that trains one.

use std::pin::pin;

use axum::{Router, http::StatusCode, routing::get};
use tokio::sync::watch;
use tonic::server::NamedService;
use tonic_health::{ServingStatus, server::HealthReporter};

use super::lifecycle::{Phase, Shutdown};
use crate::pb::{
    digitd::v1::{
        analysis_service_server::AnalysisServiceServer, prediction_service_server::PredictionServiceServer,
        registry_service_server::RegistryServiceServer, training_service_server::TrainingServiceServer,
    },
    inference::grpc_inference_service_server::GrpcInferenceServiceServer,
};

/// The services that work without a model, because they make the first one.
const WITHOUT_MODEL: [&str; 3] =
    [TrainingServiceServer::<()>::NAME, AnalysisServiceServer::<()>::NAME, RegistryServiceServer::<()>::NAME];

/// The services that need a model; the empty name is the server as a whole.
const WITH_MODEL: [&str; 3] =
    ["", PredictionServiceServer::<()>::NAME, GrpcInferenceServiceServer::<()>::NAME];

/// Whether the server accepts work.
#[derive(Debug, Clone)]
pub struct Readiness {
    engine: watch::Receiver<bool>,
    model: watch::Receiver<bool>,
    shutdown: Shutdown,
}

impl Readiness {
    /// `engine` becomes true when the engine accepts work, and `model` when a model is loaded.
    pub fn new(engine: watch::Receiver<bool>, model: watch::Receiver<bool>, shutdown: Shutdown) -> Self {
        Self { engine, model, shutdown }
    }

    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    pub fn is_ready(&self) -> bool {
        *self.engine.borrow() && self.shutdown.phase() == Phase::Serving
    }

    /// Whether the server is ready and has loaded a model.
    pub fn predicts(&self) -> bool {
        self.is_ready() && *self.model.borrow()
    }

    /// Reports the current state once.
    pub async fn report(&self, reporter: &HealthReporter) {
        for (services, ready) in [(WITHOUT_MODEL, self.is_ready()), (WITH_MODEL, self.predicts())] {
            let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
            for service in services {
                reporter.set_service_status(service, status).await;
            }
        }
    }

    /// Reports every change until the server is about to end.
    pub async fn follow(mut self, reporter: HealthReporter) {
        let shutdown = self.shutdown.clone();
        let mut withdrawn = pin!(shutdown.reached(Phase::Withdrawn));
        loop {
            self.engine.borrow_and_update();
            self.model.borrow_and_update();
            self.report(&reporter).await;
            let changed = async {
                tokio::select! {
                    changed = self.engine.changed() => changed,
                    changed = self.model.changed() => changed,
                }
            };
            tokio::select! {
                () = &mut withdrawn => break,
                changed = changed => if changed.is_err() {
                    // An engine that has ended never becomes ready again.
                    withdrawn.await;
                    break;
                },
            }
        }
        self.report(&reporter).await;
    }

    /// `/livez` succeeds while the process can respond, and `/readyz` while it accepts work, with or without a
    /// model; `/healthz` is the same as `/readyz`.
    pub fn router(self) -> Router {
        let ready = move || async move {
            match self.is_ready() {
                true => (StatusCode::OK, "ready\n"),
                false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            }
        };
        Router::new()
            .route("/livez", get(|| async { "alive\n" }))
            .route("/readyz", get(ready.clone()))
            .route("/healthz", get(ready))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_ready_from_when_its_engine_is_until_it_is_withdrawn() {
        let (engine, ready) = watch::channel(false);
        let (model, predicts) = watch::channel(false);
        let (phase, shutdown) = Shutdown::begin();
        let readiness = Readiness::new(ready, predicts, shutdown);
        assert!(!readiness.is_ready());
        engine.send(true).unwrap();
        assert!(readiness.is_ready() && !readiness.predicts());
        model.send(true).unwrap();
        assert!(readiness.predicts());
        phase.send(Phase::Withdrawn).unwrap();
        assert!(!readiness.is_ready() && !readiness.predicts());
    }
}
