//! The metrics of the calls, under the names that gRPC servers commonly use, and the page on which Prometheus
//! scrapes all metrics.

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::{
    Router,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry, TextEncoder,
};
use prost_reflect::MethodDescriptor;
use tonic::Code;

use crate::{
    engine::Engine,
    pb::{self, FILE_DESCRIPTOR_SET},
};

/// The bounds of the histogram, from a fifth of a millisecond, which a prediction takes, to a minute, which a
/// short run takes.
const SECONDS: [f64; 18] = [
    0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0,
    60.0,
];

/// The labels that name a method.
const LABELS: [&str; 3] = ["grpc_type", "grpc_service", "grpc_method"];

/// The metrics of every method; clones share them.
#[derive(Debug, Clone)]
pub struct CallMetrics {
    methods: Arc<HashMap<String, Arc<MethodMetrics>>>,
    /// Counts the calls to unknown methods together, because a label must not come from a caller.
    unknown: Arc<MethodMetrics>,
}

/// The metrics of one method.
#[derive(Debug)]
pub struct MethodMetrics {
    started: IntCounter,
    /// One counter for each status code, by its number.
    handled: Vec<IntCounter>,
    seconds: Histogram,
}

/// The metric families of all methods.
struct Families {
    started: IntCounterVec,
    handled: IntCounterVec,
    seconds: HistogramVec,
}

impl CallMetrics {
    /// Registers a series for every method, so that a rate begins at 0 and not at its first call.
    pub fn new(registry: &Registry) -> Self {
        let families = Families::new(registry);
        let mut methods = HashMap::new();
        for set in [
            FILE_DESCRIPTOR_SET,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ] {
            for method in pb::methods(set) {
                let service = method.parent_service().full_name();
                let metrics = families.of([kind(&method), service, method.name()]);
                methods.insert(format!("/{service}/{}", method.name()), Arc::new(metrics));
            }
        }
        let unknown = Arc::new(families.of(["unary", "unknown", "unknown"]));
        Self { methods: Arc::new(methods), unknown }
    }

    /// Counts the start of a call, and returns the metrics that count its end.
    pub fn started(&self, path: &str) -> Arc<MethodMetrics> {
        let method = self.methods.get(path).unwrap_or(&self.unknown);
        method.started.inc();
        method.clone()
    }
}

impl MethodMetrics {
    /// Counts the end of a call.
    pub fn ended(&self, code: Code, taken: Duration) {
        if let Some(handled) = self.handled.get(code as usize) {
            handled.inc();
        }
        self.seconds.observe(taken.as_secs_f64());
    }
}

impl Families {
    fn new(registry: &Registry) -> Self {
        let with_code = [LABELS[0], LABELS[1], LABELS[2], "grpc_code"];
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels).expect("the names are plain");
            registry.register(Box::new(counter.clone())).expect("nobody else has this name");
            counter
        };
        let help = "Seconds from a call's arrival to the end of its answer.";
        let options = HistogramOpts::new("grpc_server_handling_seconds", help).buckets(SECONDS.into());
        let seconds = HistogramVec::new(options, &LABELS).expect("the names are plain");
        registry.register(Box::new(seconds.clone())).expect("nobody else has this name");
        Self {
            started: counter("grpc_server_started_total", "Calls that began.", &LABELS),
            handled: counter("grpc_server_handled_total", "Calls that ended, by their code.", &with_code),
            seconds,
        }
    }

    fn of(&self, labels: [&str; 3]) -> MethodMetrics {
        let [kind, service, method] = labels;
        let handled = |code: i32| {
            self.handled.with_label_values(&[kind, service, method, &code_label(Code::from_i32(code))])
        };
        MethodMetrics {
            started: self.started.with_label_values(&labels),
            handled: (0..=Code::Unauthenticated as i32).map(handled).collect(),
            seconds: self.seconds.with_label_values(&labels),
        }
    }
}

/// The name of a status code as the exporters of Go write it, which dashboards expect.
fn code_label(code: Code) -> String {
    match code {
        Code::Ok => "OK".to_owned(),
        Code::Cancelled => "Canceled".to_owned(),
        other => format!("{other:?}"),
    }
}

fn kind(method: &MethodDescriptor) -> &'static str {
    match (method.is_client_streaming(), method.is_server_streaming()) {
        (false, false) => "unary",
        (true, false) => "client_stream",
        (false, true) => "server_stream",
        (true, true) => "bidi_stream",
    }
}

/// `/metrics`, in the text format of Prometheus.
pub fn router(engine: Engine) -> Router {
    Router::new().route("/metrics", get(move || async move { page(&engine) }))
}

fn page(engine: &Engine) -> Response {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    match encoder.encode(&engine.gather_metrics(), &mut text) {
        Ok(()) => ([(CONTENT_TYPE, encoder.format_type().to_owned())], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
