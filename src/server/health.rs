//! Health: SERVING from when the engine takes work until the server drains, as gRPC's own service
//! and on the plain port (`/livez`, `/readyz`).

use std::pin::pin;

use axum::{Router, http::StatusCode, routing::get};
use tokio::sync::watch;
use tonic::server::NamedService;
use tonic_health::{ServingStatus, server::HealthReporter};

use super::phase::{Life, Phase};
use crate::pb::{
    digitd::v1::{
        analysis_service_server::AnalysisServiceServer, prediction_service_server::PredictionServiceServer,
        registry_service_server::RegistryServiceServer, training_service_server::TrainingServiceServer,
    },
    inference::grpc_inference_service_server::GrpcInferenceServiceServer,
};

/// The names that health is told of; the empty one is the server as a whole.
const SERVICES: [&str; 6] = [
    "",
    TrainingServiceServer::<()>::NAME,
    AnalysisServiceServer::<()>::NAME,
    PredictionServiceServer::<()>::NAME,
    RegistryServiceServer::<()>::NAME,
    GrpcInferenceServiceServer::<()>::NAME,
];

/// Whether the server takes work.
#[derive(Debug, Clone)]
pub struct Readiness {
    engine: watch::Receiver<bool>,
    life: Life,
}

impl Readiness {
    pub fn new(engine: watch::Receiver<bool>, life: Life) -> Self {
        Self { engine, life }
    }

    pub fn life(&self) -> &Life {
        &self.life
    }

    pub fn is_ready(&self) -> bool {
        *self.engine.borrow() && self.life.phase() == Phase::Serving
    }

    /// Tells the reporter how things are, once.
    pub async fn report(&self, reporter: &HealthReporter) {
        let status = match self.is_ready() {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        for service in SERVICES {
            reporter.set_service_status(service, status).await;
        }
    }

    /// Tells the reporter of every change, until the server drains or is gone.
    pub async fn follow(mut self, reporter: HealthReporter) {
        let life = self.life.clone();
        let mut draining = pin!(life.reached(Phase::Draining));
        loop {
            self.engine.borrow_and_update();
            self.report(&reporter).await;
            tokio::select! {
                () = &mut draining => break,
                changed = self.engine.changed() => if changed.is_err() {
                    // An engine that is gone is not ready, and will not be.
                    draining.await;
                    break;
                },
            }
        }
        self.report(&reporter).await;
    }

    /// `/livez` answers while the process can answer; `/readyz` while it takes work.
    pub fn router(self) -> Router {
        let ready = move || async move {
            match self.is_ready() {
                true => (StatusCode::OK, "ready\n"),
                false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            }
        };
        Router::new().route("/livez", get(|| async { "alive\n" })).route("/readyz", get(ready))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_ready_from_when_its_engine_is_until_it_drains() {
        let (engine, ready) = watch::channel(false);
        let (phase, life) = Life::begin();
        let readiness = Readiness::new(ready, life);
        assert!(!readiness.is_ready());
        engine.send(true).unwrap();
        assert!(readiness.is_ready());
        phase.send(Phase::Draining).unwrap();
        assert!(!readiness.is_ready());
    }
}
