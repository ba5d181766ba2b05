//! Triton's own Python client, sync and asyncio, against a real server.

use std::{path::PathBuf, process::Command};

use digitd::pb::{FILE_DESCRIPTOR_SET, digitd::v1};
use serde_json::json;

use super::server::{TestServer, unseen_images};
use crate::{
    cli::program::{ProgramOutput, feed, finish},
    support,
};

const TESTS: &str = include_str!("triton.py");
const README: &str = include_str!("../../../README.md");

fn python() -> Option<PathBuf> {
    support::python("triton", "tritonclient.grpc")
}

async fn run_blocking(work: impl FnOnce() -> ProgramOutput + Send + 'static) -> ProgramOutput {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn tritons_client_classifies_images_and_gets_the_requested_outputs() {
    let Some(python) = python() else { return };
    let server = TestServer::start().await;
    server.train().await;
    server.train().await;
    let pixels = unseen_images(7).pixels().to_vec();
    let request = v1::PredictRequest { pixel_batch: pixels.clone().into(), ..Default::default() };
    let native = server.prediction().predict(request).await.unwrap().into_inner().predictions;
    let probabilities: Vec<_> = native.into_iter().map(|prediction| prediction.probabilities).collect();
    let given = json!({
        "address": server.addr.to_string(),
        "pixels": hex(&pixels),
        "probabilities": probabilities,
        "descriptors": hex(FILE_DESCRIPTOR_SET),
    });
    let printed = run_blocking(move || {
        let mut command = Command::new(python);
        feed(command.args(["-c", TESTS, "--verbose"]), given.to_string().as_bytes())
    })
    .await;
    assert_eq!(printed.code, Some(0), "{}\n{}", printed.stdout, printed.stderr);
    let tests = TESTS.matches("def test_").count();
    assert!(tests > 0 && printed.stderr.contains(&format!("Ran {tests} tests")), "{}", printed.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readmes_example_for_tritons_client_works() {
    let Some(python) = python() else { return };
    let server = TestServer::start().await;
    server.train().await;
    let example = README.split("```python\n").nth(1).and_then(|rest| rest.split("```").next());
    let example =
        example.expect("the README has an example").replace("localhost:8001", &server.addr.to_string());
    assert!(example.contains("tritonclient"), "{example}");
    let printed = run_blocking(move || finish(Command::new(python).args(["-c", &example]))).await;
    assert!(printed.ok().lines().count() >= 1);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
