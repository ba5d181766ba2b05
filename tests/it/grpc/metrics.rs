//! What the plain port exports to Prometheus, and that Prometheus can parse it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use digitd::pb::digitd::v1;
use tonic::Code;

use super::{
    limits::call,
    server::{TestServer, collect, endless, unseen_images},
    status::check,
};

async fn page(server: &TestServer) -> String {
    let url = format!("http://{}/metrics", server.http_addr);
    let asked = tokio::task::spawn_blocking(move || {
        let mut response = ureq::get(url).call()?;
        assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4");
        response.body_mut().read_to_string()
    });
    asked.await.unwrap().unwrap()
}

/// The value of a series, written with its labels as on the page.
fn value(page: &str, series: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{page}")).parse().unwrap()
}

async fn predict(server: &TestServer, bytes: Bytes) -> Result<(), tonic::Status> {
    let request = v1::PredictRequest { pixel_batch: bytes, ..v1::PredictRequest::default() };
    server.prediction().predict(request).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_predictions_and_runs_are_counted() {
    let server = TestServer::start().await;
    server.train().await;
    let three = Bytes::copy_from_slice(unseen_images(3).pixels());
    for _ in 0..2 {
        predict(&server, three.clone()).await.unwrap();
    }
    predict(&server, three.slice(1..)).await.unwrap_err();
    let page = page(&server).await;
    let call = |name: &str, more: &str| {
        // Labels are sorted by name.
        let method =
            "grpc_method=\"Predict\",grpc_service=\"digitd.v1.PredictionService\",grpc_type=\"unary\"";
        value(&page, &format!("{name}{{{more}{method}}}"))
    };
    assert_eq!(call("grpc_server_started_total", ""), 3.0);
    assert_eq!(call("grpc_server_handled_total", "grpc_code=\"OK\","), 2.0);
    assert_eq!(call("grpc_server_handled_total", "grpc_code=\"InvalidArgument\","), 1.0);
    assert_eq!(call("grpc_server_handling_seconds_count", ""), 3.0);
    let of = |name: &str| value(&page, &format!("digitd_inference_{name}{{model=\"digits\",version=\"1\"}}"));
    assert_eq!((of("batch_size_count"), of("batch_size_sum"), of("queue_seconds_count")), (2.0, 6.0, 2.0));
    assert!(of("compute_seconds_sum") > 0.0 && of("pending_images") == 0.0);
    let ok = "digitd_inference_requests_total{model=\"digits\",outcome=\"ok\",version=\"1\"}";
    assert_eq!(value(&page, ok), 2.0);
    let info = "digitd_model_info{model=\"digits\",parameters=\"20350\",precision=\"float32\",version=\"1\"}";
    assert_eq!(value(&page, info), 1.0);
    assert_eq!(value(&page, "digitd_training_runs_total{state=\"completed\"}"), 1.0);
    assert_eq!(value(&page, "digitd_training_epochs_total"), 2.0);
    assert_eq!(value(&page, "digitd_training_step"), 12.0);
    assert_eq!(value(&page, "digitd_training_running"), 0.0);
    assert!(value(&page, "process_resident_memory_bytes") > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_calls_are_counted_by_their_reason() {
    let server = TestServer::start().await;
    server.train().await;
    // One call waits for an hour and fills the queue.
    let server = TestServer::serving(server.stop().await, |serving| {
        serving.max_queue_delay = Duration::from_secs(3600);
        serving.queue_capacity = 1;
    })
    .await;
    let one = v1::PredictRequest {
        pixel_batch: Bytes::copy_from_slice(unseen_images(1).pixels()),
        ..v1::PredictRequest::default()
    };
    let rejections = |page: &str, reason: &str| {
        value(page, &format!("digitd_inference_rejected_total{{reason=\"{reason}\"}}"))
    };
    let waits = call(&server, "/digitd.v1.PredictionService/Predict", "5S", &one);
    let queue_full = async {
        while value(&page(&server).await, "digitd_inference_pending_images{model=\"digits\",version=\"1\"}")
            < 1.0
        {
            tokio::task::yield_now().await;
        }
        server.prediction().predict(one.clone()).await
    };
    let (late, queue_full) = tokio::join!(waits, queue_full);
    check(&late, Code::DeadlineExceeded, "DEADLINE");
    check(&queue_full.unwrap_err(), Code::ResourceExhausted, "QUEUE_FULL");
    let page = page(&server).await;
    assert_eq!((rejections(&page, "deadline"), rejections(&page, "queue_full")), (1.0, 1.0));
    for (outcome, count) in [("deadline", 1.0), ("queue_full", 1.0), ("cancelled", 0.0)] {
        let of = format!("{{model=\"digits\",outcome=\"{outcome}\",version=\"1\"}}");
        assert_eq!(value(&page, &format!("digitd_inference_requests_total{of}")), count, "{outcome}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_train_and_wait_are_reported_while_they_do() {
    let server = TestServer::start().await;
    let first = server.training().train(endless()).await.unwrap().into_inner();
    let queued = v1::TrainRequest { queue: true, ..endless() };
    let second = server.training().train(queued).await.unwrap().into_inner();
    let page = page(&server).await;
    assert_eq!(value(&page, "digitd_training_running"), 1.0);
    assert_eq!(value(&page, "digitd_training_queued_runs"), 1.0);
    server.stop().await;
    tokio::join!(collect(first), collect(second));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_made_up_by_a_caller_become_no_series() {
    let server = TestServer::start().await;
    let mut client = tonic::client::Grpc::new(server.channel());
    client.ready().await.unwrap();
    let path = "/digitd.v1.Nothing/Here".parse().unwrap();
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    client.unary(tonic::Request::new(()), path, codec).await.unwrap_err();
    let page = page(&server).await;
    assert!(!page.contains("Nothing"));
    let unknown = "grpc_method=\"unknown\",grpc_service=\"unknown\",grpc_type=\"unary\"";
    assert_eq!(value(&page, &format!("grpc_server_started_total{{{unknown}}}")), 1.0);
}

/// The rules of `promtool check metrics`, and those of the text format.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_passes_the_checks_of_promtool() {
    let server = TestServer::start().await;
    server.train().await;
    predict(&server, Bytes::copy_from_slice(unseen_images(1).pixels())).await.unwrap();
    let page = page(&server).await;
    let (mut help, mut types, mut series_so_far) = (BTreeSet::new(), BTreeMap::new(), BTreeSet::new());
    let mut buckets: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for line in page.lines() {
        if let Some((name, text)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            assert!(help.insert(name), "{name} is explained once");
            assert!(!text.is_empty());
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            assert!(types.insert(name, kind).is_none() && help.contains(name), "{line}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            check_name(name);
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let value: f64 = value.parse().unwrap();
            assert!(series_so_far.insert(series), "{series} is listed twice");
            let name = series.split('{').next().unwrap();
            let family = family(name, &types);
            if types[family] == "counter" {
                assert!(value >= 0.0, "{line}");
            }
            if let Some(base) = name.strip_suffix("_bucket") {
                let (before, rest) = series.split_once("le=\"").unwrap();
                let (bound, after) = rest.split_once('"').unwrap();
                let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() };
                buckets.entry(format!("{base} {before}{after}")).or_default().push((bound, value));
            }
        }
    }
    assert!(types.len() > 30 && buckets.len() > 10);
    for (series, bounds) in buckets {
        assert!(bounds.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{series}: {bounds:?}");
        assert_eq!(bounds.last().unwrap().0, f64::INFINITY, "{series}");
    }
}

/// The family of a sample: its own name, or that of its histogram.
fn family<'a>(name: &'a str, types: &BTreeMap<&str, &str>) -> &'a str {
    let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
    match of_histogram.filter(|base| types.get(base) == Some(&"histogram")) {
        Some(base) => base,
        None => {
            assert!(types.contains_key(name), "{name} has no type");
            name
        }
    }
}

/// Names are plain words with base units.
fn check_name(name: &str) {
    assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
    for unit in ["milliseconds", "microseconds", "kilobytes", "megabytes", "percent", "minutes"] {
        assert!(!name.contains(unit), "{name} is not in a base unit");
    }
}
