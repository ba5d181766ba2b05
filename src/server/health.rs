//! Health, as gRPC's own service and on the plain port (`/livez`, `/readyz`): ready from when the
//! engine takes work until the server drains. gRPC's services of predictions and the server as a whole
//! wait for the first model beside that; `/readyz` does not: who is sent no calls before it is ready
//! would never be asked to train one.

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

/// The services with which a server gets its first model.
const ALWAYS: [&str; 3] =
    [TrainingServiceServer::<()>::NAME, AnalysisServiceServer::<()>::NAME, RegistryServiceServer::<()>::NAME];

/// Those that have nothing to answer with before it; the empty one is the server as a whole.
const WITH_A_MODEL: [&str; 3] =
    ["", PredictionServiceServer::<()>::NAME, GrpcInferenceServiceServer::<()>::NAME];

/// Whether the server takes work.
#[derive(Debug, Clone)]
pub struct Readiness {
    engine: watch::Receiver<bool>,
    model: watch::Receiver<bool>,
    life: Life,
}

impl Readiness {
    /// Of an engine that takes work, and has a model, from when these are true.
    pub fn new(engine: watch::Receiver<bool>, model: watch::Receiver<bool>, life: Life) -> Self {
        Self { engine, model, life }
    }

    pub fn life(&self) -> &Life {
        &self.life
    }

    pub fn is_ready(&self) -> bool {
        *self.engine.borrow() && self.life.phase() == Phase::Serving
    }

    /// The same, and a model was loaded.
    pub fn predicts(&self) -> bool {
        self.is_ready() && *self.model.borrow()
    }

    /// Tells the reporter how things are, once.
    pub async fn report(&self, reporter: &HealthReporter) {
        for (services, ready) in [(ALWAYS, self.is_ready()), (WITH_A_MODEL, self.predicts())] {
            let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
            for service in services {
                reporter.set_service_status(service, status).await;
            }
        }
    }

    /// Tells the reporter of every change, until the server drains or is gone.
    pub async fn follow(mut self, reporter: HealthReporter) {
        let life = self.life.clone();
        let mut draining = pin!(life.reached(Phase::Draining));
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
                () = &mut draining => break,
                changed = changed => if changed.is_err() {
                    // An engine that is gone is not ready, and will not be.
                    draining.await;
                    break;
                },
            }
        }
        self.report(&reporter).await;
    }

    /// `/livez` answers while the process can answer; `/readyz` while it takes work, with or without a
    /// model.
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
        let (model, predicts) = watch::channel(false);
        let (phase, life) = Life::begin();
        let readiness = Readiness::new(ready, predicts, life);
        assert!(!readiness.is_ready());
        engine.send(true).unwrap();
        assert!(readiness.is_ready() && !readiness.predicts());
        model.send(true).unwrap();
        assert!(readiness.predicts());
        phase.send(Phase::Draining).unwrap();
        assert!(!readiness.is_ready() && !readiness.predicts());
    }
}
