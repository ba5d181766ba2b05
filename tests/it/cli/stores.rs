//! Stores that several programs use: a bucket of a real S3 server, and a folder.

use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use super::program::{SMALL_RUN, Said, Server, digitd, finish};
use crate::{grpc::transfer, support};

/// Where a store lies, and the variables that reach it.
struct Place {
    url: String,
    variables: Vec<(String, String)>,
    _folder: Option<TempDir>,
}

impl Place {
    fn folder() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = folder.path().to_str().unwrap().to_owned();
        Self { url, variables: Vec::new(), _folder: Some(folder) }
    }

    fn bucket() -> Option<Self> {
        let server = support::bucket_server()?;
        Some(Self { url: server.place(), variables: server.variables(), _folder: None })
    }

    /// A command that works on the store by itself.
    fn inside(&self, args: &[&str]) -> Command {
        let mut command = digitd();
        command.args(args).args(["--in-process", "--store", &self.url, "--threads", "1"]);
        command.envs(self.variables.iter().cloned());
        command
    }

    fn run(&self, args: &[&str]) -> Said {
        finish(&mut self.inside(args))
    }
}

#[test]
fn a_server_on_a_bucket_trains_and_serves_what_it_published_after_a_restart() {
    let Some(place) = Place::bucket() else { return };
    let mut doctor = digitd();
    doctor.args(["doctor", "--store", &place.url, "--grpc-addr", "127.0.0.1:0"]);
    let said = finish(doctor.envs(place.variables.iter().cloned())).ok();
    assert!(said.contains(&format!("{} can be written", place.url)), "{said}");

    let server = Server::at(&place.url, &place.variables);
    let events = server.call(&[SMALL_RUN, &["--json", "--set-alias", "production"]].concat()).json_lines();
    let run = events[0]["runId"].as_str().unwrap();
    assert!(server.end("TERM").success());

    let server = Server::at(&place.url, &place.variables);
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
fn a_bucket_that_cannot_be_reached_ends_the_start_with_the_variables_to_look_at() {
    let mut serve = digitd();
    serve.args(["serve", "--store", "s3://digits/fleet", "--grpc-addr", "127.0.0.1:0", "--http-addr", "off"]);
    serve.envs([("AWS_ENDPOINT_URL", "http://127.0.0.1:9"), ("AWS_ACCESS_KEY_ID", "somebody")]);
    let said = finish(serve.env("AWS_SECRET_ACCESS_KEY", "not-to-be-told")).error();
    assert!(
        said.contains("s3://digits/fleet cannot be written") && said.contains("AWS_ENDPOINT_URL"),
        "{said}"
    );
    assert!(!said.contains("not-to-be-told"), "{said}");
}

/// Two runs and two imports of the very same file, each in a program of its own.
fn publish_at_once(place: &Place) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weights.safetensors");
    std::fs::write(&file, transfer::file(transfer::TUTORIAL)).unwrap();
    let import = ["models", "import", file.to_str().unwrap(), "--json"];
    let train = [SMALL_RUN, &["--json"]].concat();
    let start =
        |args: &[&str]| place.inside(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let programs = [start(&train), start(&import), start(&train), start(&import)];
    for program in programs {
        let done = program.wait_with_output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    let listed = place.run(&["models", "versions", "--json"]).json();
    let versions = listed["versions"].as_array().unwrap();
    let numbers: BTreeSet<i64> = versions.iter().map(|it| it["version"].as_i64().unwrap()).collect();
    assert_eq!((versions.len(), numbers.len()), (4, 4), "{listed}");
    assert_eq!(versions.iter().filter(|it| it["imported"].is_object()).count(), 2, "{listed}");
    for number in numbers {
        // The export checks the bytes against their SHA-256, the other that they make the network.
        let (number, output) = (number.to_string(), folder.path().join("out").display().to_string());
        place.run(&["models", "export", "--version", &number, "--output", &output]).ok();
        place.run(&["models", "export", "--version", &number, "--format", "onnx", "--output", &output]).ok();
    }
    let newest = versions[0]["version"].as_i64().unwrap();
    assert_eq!(place.run(&["models", "show", "--alias", "latest", "--json"]).json()["version"], newest);
}

#[test]
fn programs_that_publish_into_one_folder_at_once_get_versions_of_their_own() {
    publish_at_once(&Place::folder());
}

#[test]
fn programs_that_publish_into_one_bucket_at_once_get_versions_of_their_own() {
    if let Some(place) = Place::bucket() {
        publish_at_once(&place);
    }
}

#[test]
fn a_command_ends_well_while_the_version_that_it_published_still_warms_up() {
    let place = Place::folder();
    let request = tempfile::NamedTempFile::new().unwrap();
    let wide = r#"{"network": {"layers": [
        {"conv": {"outChannels": 48, "kernelSize": 5, "padding": 2}}, {"relu": {}},
        {"conv": {"outChannels": 48, "kernelSize": 5, "padding": 2}}, {"relu": {}},
        {"maxPool": {"kernelSize": 4}}, {"flatten": {}}, {"linear": {"outFeatures": 10}}]}}"#;
    std::fs::write(request.path(), wide).unwrap();
    let asked = ["--request", request.path().to_str().unwrap()];
    place.run(&[SMALL_RUN, &asked].concat()).ok();
}
