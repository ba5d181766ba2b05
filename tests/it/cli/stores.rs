//! Stores that several programs share: a bucket of a real S3 server, and a folder.

use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use super::program::{ProgramOutput, SMALL_RUN, Server, digitd, finish};
use crate::{grpc::transfer, support};

/// The location of a store, and the environment variables to reach it.
struct TestStore {
    url: String,
    variables: Vec<(String, String)>,
    _folder: Option<TempDir>,
}

impl TestStore {
    fn folder() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = folder.path().to_str().unwrap().to_owned();
        Self { url, variables: Vec::new(), _folder: Some(folder) }
    }

    fn bucket() -> Option<Self> {
        let server = support::bucket_server()?;
        Some(Self { url: server.location(), variables: server.variables(), _folder: None })
    }

    /// A command that uses the store directly.
    fn inside(&self, args: &[&str]) -> Command {
        let mut command = digitd();
        command.args(args).args(["--in-process", "--store", &self.url, "--threads", "1"]);
        command.envs(self.variables.iter().cloned());
        command
    }

    fn run(&self, args: &[&str]) -> ProgramOutput {
        finish(&mut self.inside(args))
    }
}

#[test]
fn a_server_on_a_bucket_trains_and_serves_what_it_published_after_a_restart() {
    let Some(store) = TestStore::bucket() else { return };
    let mut doctor = digitd();
    doctor.args(["doctor", "--store", &store.url, "--grpc-addr", "127.0.0.1:0"]);
    let printed = finish(doctor.envs(store.variables.iter().cloned())).ok();
    assert!(printed.contains(&format!("{} can be written", store.url)), "{printed}");

    let server = Server::at(&store.url, &store.variables);
    let events = server.call(&[SMALL_RUN, &["--json", "--set-alias", "production"]].concat()).json_lines();
    let run = events[0]["runId"].as_str().unwrap();
    assert!(server.end("TERM").success());

    let server = Server::at(&store.url, &store.variables);
    assert_eq!(server.call(&["runs", "watch", run, "--json"]).json_lines(), events);
    let read = server.call(&["predict", "--dataset", "synthetic", "--index", "0", "--json"]).json();
    assert_eq!(read["response"]["version"], 1);
    let more = server.call(&[SMALL_RUN, &["--initial", "1", "--json"]].concat()).json_lines();
    assert_eq!(more.last().unwrap()["finished"]["version"], 2);
    assert!(server.call(&["models", "list"]).ok().contains("latest=2 production=1"));
    server.call(&["models", "delete", "1"]).error();
    server.call(&["models", "set-alias", "production", "2"]).ok();
    server.call(&["models", "delete", "1"]).ok();
    assert!(server.call(&["models", "show", "1"]).error().contains("VERSION_NOT_FOUND"));
}

#[test]
fn an_unreachable_bucket_ends_the_start_with_the_variables_to_check() {
    let mut serve = digitd();
    serve.args(["serve", "--store", "s3://digits/fleet", "--grpc-addr", "127.0.0.1:0", "--http-addr", "off"]);
    serve.envs([("AWS_ENDPOINT_URL", "http://127.0.0.1:9"), ("AWS_ACCESS_KEY_ID", "somebody")]);
    let printed = finish(serve.env("AWS_SECRET_ACCESS_KEY", "not-to-be-revealed")).error();
    assert!(
        printed.contains("s3://digits/fleet cannot be written") && printed.contains("AWS_ENDPOINT_URL"),
        "{printed}"
    );
    assert!(!printed.contains("not-to-be-revealed"), "{printed}");
}

/// Two runs and two imports of the same file, each in a program of its own.
fn publish_at_once(store: &TestStore) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weights.safetensors");
    std::fs::write(&file, transfer::file(transfer::TUTORIAL)).unwrap();
    let import = ["models", "import", file.to_str().unwrap(), "--json"];
    let train = [SMALL_RUN, &["--json"]].concat();
    let start =
        |args: &[&str]| store.inside(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let programs = [start(&train), start(&import), start(&train), start(&import)];
    for program in programs {
        let done = program.wait_with_output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    let listed = store.run(&["models", "versions", "--json"]).json();
    let versions = listed["versions"].as_array().unwrap();
    let numbers: BTreeSet<i64> = versions.iter().map(|it| it["version"].as_i64().unwrap()).collect();
    assert_eq!((versions.len(), numbers.len()), (4, 4), "{listed}");
    assert_eq!(versions.iter().filter(|it| it["imported"].is_object()).count(), 2, "{listed}");
    for number in numbers {
        // The first export checks the SHA-256 of the bytes, the second that they fit the network.
        let (number, output) = (number.to_string(), folder.path().join("out").display().to_string());
        store.run(&["models", "export", "--version", &number, "--output", &output]).ok();
        store.run(&["models", "export", "--version", &number, "--format", "onnx", "--output", &output]).ok();
    }
    let newest = versions[0]["version"].as_i64().unwrap();
    assert_eq!(store.run(&["models", "show", "--alias", "latest", "--json"]).json()["version"], newest);
}

#[test]
fn programs_that_publish_into_one_folder_at_once_get_distinct_versions() {
    publish_at_once(&TestStore::folder());
}

#[test]
fn programs_that_publish_into_one_bucket_at_once_get_distinct_versions() {
    if let Some(store) = TestStore::bucket() {
        publish_at_once(&store);
    }
}

#[test]
fn a_command_ends_well_while_the_version_that_it_published_still_warms_up() {
    let store = TestStore::folder();
    let request = tempfile::NamedTempFile::new().unwrap();
    let wide = r#"{"network": {"layers": [
        {"conv": {"outChannels": 48, "kernelSize": 5, "padding": 2}}, {"relu": {}},
        {"conv": {"outChannels": 48, "kernelSize": 5, "padding": 2}}, {"relu": {}},
        {"maxPool": {"kernelSize": 4}}, {"flatten": {}}, {"linear": {"outFeatures": 10}}]}}"#;
    std::fs::write(request.path(), wide).unwrap();
    let arguments = ["--request", request.path().to_str().unwrap()];
    store.run(&[SMALL_RUN, &arguments].concat()).ok();
}
