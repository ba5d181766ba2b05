//! The commands of README and of the pages in docs/, run as a reader would paste them: against a real server,
//! with small data in the requests.

use std::{os::unix::fs::symlink, path::Path, process::Command};

use digitd::data::{
    image,
    synthetic::{self, DigitStream},
};
use serde_json::{Value, json};

use crate::{
    cli::program::{SMALL_RUN, Server, finish},
    grpc::grpcurl::grpcurl,
};

const README: &str = include_str!("../../README.md");
const CLI: &str = include_str!("../../docs/cli.md");
const EVALUATE: &str = include_str!("../../docs/evaluate.md");
const INSPECT: &str = include_str!("../../docs/inspect.md");
const OPEN_INFERENCE_PROTOCOL: &str = include_str!("../../docs/open-inference-protocol.md");
const PREDICTION: &str = include_str!("../../docs/prediction.md");
const REGISTRY: &str = include_str!("../../docs/registry.md");
const TRAINING: &str = include_str!("../../docs/training.md");
const MAKEFILE: &str = include_str!("../../Makefile");

#[test]
fn every_command_of_the_readme_works() {
    assert!(run_all(README, &Server::start()) >= 15);
}

#[test]
fn every_command_of_the_page_on_the_command_line_works() {
    assert!(run_all(CLI, &server_with_versions()) >= 15);
}

#[test]
fn every_command_of_the_page_on_training_works() {
    assert!(run_all(TRAINING, &server_with_versions()) >= 10);
}

#[test]
fn every_command_of_the_page_on_evaluation_works() {
    let server = Server::start();
    server.call(&[SMALL_RUN, &["--set-alias=production"]].concat()).ok();
    assert!(run_all(EVALUATE, &server) >= 15);
}

#[test]
fn every_command_of_the_page_on_inspection_works() {
    assert!(run_all(INSPECT, &server_with_versions()) >= 7);
}

#[test]
fn every_command_of_the_page_on_prediction_works() {
    assert!(run_all(PREDICTION, &server_with_versions()) >= 6);
}

#[test]
fn every_command_of_the_page_on_the_registry_works() {
    assert!(run_all(REGISTRY, &server_with_versions()) >= 13);
}

#[test]
fn every_command_of_the_page_on_the_open_inference_protocol_works() {
    assert!(run_all(OPEN_INFERENCE_PROTOCOL, &server_with_versions()) >= 4);
}

/// A server with the versions 1 and 2 of the model `digits`.
fn server_with_versions() -> Server {
    let server = Server::start();
    server.call(SMALL_RUN).ok();
    server.call(&[SMALL_RUN, &["--seed=1"]].concat()).ok();
    server
}

/// Runs every command of a text; returns the number of commands.
fn run_all(text: &str, server: &Server) -> usize {
    let grpcurl = grpcurl();
    let folder = tempfile::tempdir().unwrap();
    symlink(env!("CARGO_BIN_EXE_digitd"), folder.path().join("digitd")).unwrap();
    if let Some(path) = grpcurl.iter().filter_map(|path| std::fs::canonicalize(path).ok()).next() {
        symlink(path, folder.path().join("grpcurl")).unwrap();
    }
    std::fs::create_dir(folder.path().join("scans")).unwrap();
    ["seven.png", "scans/a.png"].iter().for_each(|name| draw_seven(&folder.path().join(name)));
    let mut ran = 0;
    for command in commands(text) {
        if let Some(target) = command.strip_prefix("make ") {
            let target = target.split(' ').next().unwrap();
            assert!(MAKEFILE.contains(&format!("\n{target}:")), "make {target}");
        } else if !command.contains("digitd serve") && (grpcurl.is_some() || !command.contains("grpcurl")) {
            let printed = finish(&mut shell(&small(&command), server, folder.path()));
            assert_eq!(printed.code, Some(0), "{command}\n{}\n{}", printed.stdout, printed.stderr);
            ran += 1;
        }
    }
    // Without grpcurl its commands are not run, which was reported as skipped.
    ran + commands(text).iter().filter(|it| grpcurl.is_none() && it.contains("grpcurl")).count()
}

/// The lines of all shell blocks, with continued lines joined and comments removed.
fn commands(text: &str) -> Vec<String> {
    let blocks = text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let mut commands = Vec::<String>::new();
    let mut open = false;
    for line in blocks.flat_map(str::lines) {
        let line = line.split(" #").next().unwrap().trim();
        match commands.last_mut().filter(|_| open) {
            Some(command) => *command = format!("{} {line}", command.trim_end_matches('\\')),
            None => commands.push(line.to_owned()),
        }
        let command = commands.last().unwrap();
        open = command.ends_with('\\') || command.matches('\'').count() % 2 == 1;
    }
    commands
}

/// Replaces a training command by one with little data, and a gate by one that its version passes, on its data.
fn small(command: &str) -> String {
    let command = &command
        .replace("accuracy>=0.985", "accuracy>=0.01")
        .replace("--dataset mnist", "--dataset synthetic")
        .replace(r#"{"name": "mnist"}"#, r#"{"name": "synthetic"}"#);
    if command.contains("TrainingService/Train") {
        let (before, rest) = command.split_once("-d '").unwrap();
        let (request, after) = rest.split_once('\'').unwrap();
        let mut request: Value = serde_json::from_str(request).unwrap();
        request["dataset"] = json!({"name": "synthetic", "max_train_images": 300});
        request["validation"] = json!({"count": 100});
        return format!("{before}-d '{request}'{after}");
    }
    match command.strip_prefix("digitd train") {
        Some(flags) => {
            format!("digitd train --dataset synthetic --max-train-images 300 --validation-count 100{flags}")
        }
        None => command.clone(),
    }
}

/// The command as a shell runs it, with the programs of this build and the server of this test.
fn shell(command: &str, server: &Server, folder: &Path) -> Command {
    let addr = server.url.trim_start_matches("http://");
    let mut shell = server.wrap("bash");
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    shell.args(["-c", &command.replace("localhost:8001", addr)]).current_dir(folder).env("PATH", path);
    shell
}

fn draw_seven(path: &Path) {
    let digits = synthetic::draw(0, DigitStream::Test, 0..100);
    let seven = (0..100).find(|&index| digits.label(index) == 7).unwrap();
    std::fs::write(path, image::to_png(digits.image(seven), 28, 28)).unwrap();
}
