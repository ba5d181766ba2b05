//! The real grpcurl, which knows the contract from reflection only.

use std::{
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::Value;

use super::server::TestServer;
use crate::support;

/// The grpcurl that `make setup` installed, else one from the path. None skips the test, unless
/// DIGITD_TEST_STRICT=1 is set.
pub fn grpcurl() -> Option<PathBuf> {
    let own = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.tools/bin/grpcurl"));
    let found = [own, PathBuf::from("grpcurl")]
        .into_iter()
        .find(|path| Command::new(path).arg("-version").output().is_ok_and(|output| output.status.success()));
    if found.is_none() {
        support::skip("grpcurl is neither in .tools/bin nor in the path: `make setup` installs it");
    }
    found
}

/// Runs grpcurl against the server, and returns what it printed.
async fn run_grpcurl(grpcurl: &PathBuf, server: &TestServer, before: &[&str], after: &[&str]) -> Output {
    let mut command = Command::new(grpcurl);
    command.arg("-plaintext").args(before).arg(server.addr.to_string()).args(after);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn text(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_streams_a_run() {
    let Some(grpcurl) = grpcurl() else { return };
    let server = TestServer::start().await;
    let request = r#"{"dataset": {"name": "synthetic", "max_train_images": 300}, "epochs": 1,
        "batch_size": 50, "validation": {"count": 100}, "report_every_batches": 3}"#;
    let train = ["digitd.v1.TrainingService/Train"];
    let streamed = text(run_grpcurl(&grpcurl, &server, &["-d", request], &train).await);
    let events: Vec<Value> =
        serde_json::Deserializer::from_str(&streamed).into_iter().collect::<Result<_, _>>().unwrap();
    assert_eq!(events[0]["started"]["trainImages"], 300);
    assert_eq!(events[0]["started"]["request"]["batchSize"], 50);
    let batches = events.iter().filter_map(|event| event["batch"]["batch"].as_i64());
    assert_eq!(batches.collect::<Vec<_>>(), [1, 4]);
    let end = &events[events.len() - 1]["finished"];
    assert_eq!((&end["state"], &end["version"]), (&"RUN_STATE_COMPLETED".into(), &1.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_shows_the_services_and_their_comments() {
    let Some(grpcurl) = grpcurl() else { return };
    let server = TestServer::start().await;
    let services = text(run_grpcurl(&grpcurl, &server, &[], &["list"]).await);
    assert!(services.lines().any(|line| line == "digitd.v1.TrainingService"), "{services}");
    let described = text(run_grpcurl(&grpcurl, &server, &[], &["describe", "digitd.v1.TrainRequest"]).await);
    assert!(described.contains("// The number of passes over the training images"), "{described}");
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_shows_how_far_a_prediction_can_be_trusted() {
    let Some(grpcurl) = grpcurl() else { return };
    let server = TestServer::start().await;
    server.train().await;
    // These are 28 x 28 zeros, and the same with ink in the first pixel, in base64.
    let (blank, inked) = ("A".repeat(1044) + "AA==", format!("/////{}AA==", "A".repeat(1039)));
    let request = format!(r#"{{"images": [{{"pixels": "{blank}"}}, {{"pixels": "{inked}"}}]}}"#);
    let predict = ["digitd.v1.PredictionService/Predict"];
    let response: Value =
        serde_json::from_str(&text(run_grpcurl(&grpcurl, &server, &["-d", &request], &predict).await))
            .unwrap();
    let [blank, inked] = [0, 1].map(|at| &response["predictions"][at]);
    assert_eq!((&blank["quality"], &blank["lowConfidence"]), (&"QUALITY_BLANK".into(), &true.into()));
    assert!(blank["label"].is_null() && inked["label"].is_i64(), "{response}");
    assert!(inked["quality"] == "QUALITY_GOOD" && inked["lowConfidence"].is_boolean(), "{response}");
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_shows_which_field_is_wrong() {
    let Some(grpcurl) = grpcurl() else { return };
    let server = TestServer::start().await;
    let train = ["digitd.v1.TrainingService/Train"];
    let rejected = run_grpcurl(&grpcurl, &server, &["-d", r#"{"epochs": 0}"#], &train).await;
    let message = String::from_utf8(rejected.stderr).unwrap();
    assert!(!rejected.status.success());
    assert!(message.contains("InvalidArgument") && message.contains("epochs: is 0"), "{message}");
    // The details are readable text, because reflection describes their messages.
    assert!(message.contains(r#""reason": "INVALID_FIELD""#), "{message}");
}
