//! Signals: what Ctrl-C and SIGTERM do to a server and to a run.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
};

use super::program::{Server, send};

/// Starts a run that would take hours; returns the child, which has reported its first batch, and the run's
/// id.
fn long_run(server: &Server) -> (Child, String) {
    let mut command = server.command(&["train", "--dataset", "synthetic", "--max-train-images", "300"]);
    command.args(["--validation-count", "10", "--batch-size", "50", "--epochs", "10000", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let batch = lines.by_ref().map(Result::unwrap).find(|line| line.contains("\"batch\"")).unwrap();
    // The rest of the output is read and discarded, so that the child does not block on a full pipe.
    std::thread::spawn(move || lines.for_each(drop));
    let event: serde_json::Value = serde_json::from_str(&batch).unwrap();
    (child, event["runId"].as_str().unwrap().to_owned())
}

#[test]
fn ctrl_c_cancels_the_run_and_says_so_by_its_exit_code() {
    let server = Server::start();
    let (mut child, run) = long_run(&server);
    send(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let output = server.call(&["runs", "show", &run]).ok();
    assert!(output.contains("state       cancelled"), "{output}");
}

#[test]
fn a_detached_run_continues_and_can_be_cancelled_by_another_caller() {
    let server = Server::start();
    let (mut child, run) = long_run(&server);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(server.call(&["runs", "show", &run, "--json"]).json()["state"], "RUN_STATE_RUNNING");
    server.call(&["runs", "cancel", &run]).ok();
    let watched = server.call(&["runs", "watch", &run]);
    assert_eq!(watched.code, Some(130));
    assert!(watched.stdout.contains("cancelled after"), "{}", watched.stdout);
    assert!(watched.stderr.contains("its last checkpoint is"), "{}", watched.stderr);
}

#[test]
fn sigterm_interrupts_the_run_and_shuts_the_server_down_cleanly() {
    let server = Server::start();
    let (mut child, _) = long_run(&server);
    assert_eq!(server.end("TERM").code(), Some(0));
    assert_eq!(child.wait().unwrap().code(), Some(1), "an interrupted run is no success");
}

#[test]
fn signals_that_end_other_programs_do_not_end_the_server() {
    let server = Server::start();
    for signal in ["HUP", "USR1", "USR2"] {
        server.send(signal);
        server.call(&["runs", "list"]).ok();
    }
    let (mut child, _) = long_run(&server);
    assert_eq!(server.end("QUIT").code(), Some(0));
    assert_eq!(child.wait().unwrap().code(), Some(1), "an interrupted run is no success");
}

#[test]
fn ctrl_c_cancels_a_run_that_waits_for_its_turn() {
    let server = Server::start();
    let (mut first, trains) = long_run(&server);
    let mut command = server.command(&["train", "--queue", "--dataset", "synthetic"]);
    let mut waits = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(waits.stdout.take().unwrap()).lines().map(Result::unwrap);
    let queued = lines.next().unwrap();
    assert!(queued.ends_with(&format!("waits behind run {trains}, it is the next")), "{queued}");
    send(&waits, "INT");
    let printed = waits.wait_with_output().unwrap();
    assert_eq!(printed.status.code(), Some(130));
    assert!(String::from_utf8_lossy(&printed.stderr).contains("leaving the queue"));
    assert!(lines.next().unwrap().starts_with("cancelled after "));
    first.kill().unwrap();
    first.wait().unwrap();
}

#[test]
fn a_request_is_validated_during_a_run_and_starts_nothing() {
    let server = Server::start();
    let (mut first, _) = long_run(&server);
    let request = ["train", "--validate-only", "--dataset", "synthetic", "--max-train-images", "300"];
    let output = server.call(&[&request[..], &["--validation-count", "10"]].concat()).ok();
    assert!(output.contains("synthetic: 300 training and 10 validation images; 5 x 3 batches"), "{output}");
    let event = server.call(&[&request[..], &["--json"]].concat()).json();
    assert_eq!(event["validated"]["totalParameters"], 20_350);
    assert!(event.get("runId").is_none(), "{event}");
    let rejected = server.call(&[&request[..], &["--epochs", "0"]].concat()).error();
    assert!(rejected.contains("epochs"), "{rejected}");
    let runs = server.call(&["runs", "list", "--json"]).json();
    assert_eq!(runs["runs"].as_array().unwrap().len(), 1, "{runs}");
    first.kill().unwrap();
    first.wait().unwrap();
}
