//! The program as users start it: `digitd` in a process of its own, on a store of its own, with the built-in
//! digits.

mod evaluate;
mod help;
mod inspect;
mod log;
mod predict;
pub mod program;
mod runs;
mod signals;
mod stores;
mod tensorboard;

use program::{SMALL_RUN, Server, digitd, run};

#[test]
fn a_network_is_trained_evaluated_inspected_and_used() {
    let server = Server::start();
    let events = server.call(&[SMALL_RUN, &["--json", "--set-alias", "production"]].concat()).json_lines();
    assert!(events[0]["started"]["request"]["epochs"] == 1, "{}", events[0]);
    let finished = &events[events.len() - 1]["finished"];
    assert_eq!((&finished["state"], &finished["version"]), (&"RUN_STATE_COMPLETED".into(), &1.into()));
    let sequences: Vec<_> = events.iter().map(|event| event["sequence"].as_u64().unwrap()).collect();
    assert_eq!(sequences, (1..=events.len() as u64).collect::<Vec<_>>());

    let measured = server.call(&["evaluate", "--split", "validation", "--json"]).json();
    assert_eq!(measured["total"], 100);
    let output = server.call(&["inspect", "--contents", "--layer", "conv1", "--sample-images", "10"]).ok();
    assert!(output.contains("Total: 20 350 parameters, 2.36 M multiply-adds"), "{output}");
    assert!(output.contains("kernel ") && output.contains("zeros over 10 images"), "{output}");
    let read = server.call(&["predict", "--dataset", "synthetic", "--index", "0", "--index", "3"]).ok();
    assert!(read.contains("synthetic 3 (label ") && read.contains("by digits version 1"), "{read}");
}

#[test]
fn runs_and_versions_are_listed_and_aliases_moved_and_rolled_back() {
    let server = Server::start();
    server.call(SMALL_RUN).ok();
    let second = server.call(&[SMALL_RUN, &["--json"]].concat()).json_lines();
    let run = second[0]["runId"].as_str().unwrap();
    assert_eq!(server.call(&["runs", "watch", run, "--json"]).json_lines(), second);
    assert!(server.call(&["runs", "list"]).ok().contains(run));
    assert!(server.call(&["runs", "show", run]).ok().contains("state       completed"));

    server.call(&["models", "set-alias", "production", "1", "--reason", "first"]).ok();
    server.call(&["models", "set-alias", "production", "2"]).ok();
    let moved = server.call(&["models", "rollback", "production"]).ok();
    assert_eq!(moved, "production points to version 1, previously to version 2\n");
    server.call(&["models", "rollback", "production", "--by", "cleo", "--reason", "worse"]).ok();
    let history = server.call(&["models", "history", "production"]).ok();
    let first = history.lines().find(|line| line.contains("first")).unwrap();
    assert!(first.contains(&std::env::var("USER").unwrap_or("127.0.0.1".to_owned())), "{history}");
    assert!(history.lines().any(|line| line.contains("cleo") && line.contains("worse")), "{history}");
    server.call(&["models", "rollback", "production"]).ok();
    assert!(server.call(&["models", "list"]).ok().contains("latest=2 production=1"));
    assert!(server.call(&["models", "delete", "1"]).error().contains("VERSION_ALIASED"));
    assert!(server.call(&["models", "show", "--alias", "production"]).ok().contains("SHA-256"));
}

#[test]
fn weights_are_exported_to_a_file_and_imported_as_a_version() {
    let server = Server::start();
    server.call(SMALL_RUN).ok();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let printed = server.call(&["models", "export", "--output", &path("own")]).ok();
    assert!(printed.starts_with("digits version 1: "), "{printed}");
    let own = std::fs::read(path("own")).unwrap();
    let renamed = [("conv1.", "net.0."), ("conv2.", "net.3."), ("fc.", "net.7.")];
    let arrays =
        safetensors::SafeTensors::deserialize(&own).unwrap().tensors().into_iter().map(|(name, array)| {
            let (from, to) = renamed.iter().find(|(from, _)| name.starts_with(from)).unwrap();
            (name.replace(from, to), array)
        });
    std::fs::write(path("theirs"), safetensors::serialize(arrays, None).unwrap()).unwrap();
    std::fs::write(path("layers.json"), LAYERS).unwrap();
    let printed = server.call(&["models", "import", &path("theirs"), "--network", &path("layers.json")]).ok();
    assert!(
        printed.contains("digits version 2 (latest)\n  conv1.weight [20, 1, 5, 5] from net.0.weight\n"),
        "{printed}"
    );
    server.call(&["models", "export", "--version", "2", "--output", &path("back")]).ok();
    assert!(std::fs::read(path("back")).unwrap() == own, "the same bytes come back");
    let onnx = ["models", "export", "--format", "onnx", "--output", &path("onnx")];
    assert!(server.call(&onnx).ok().starts_with("digits version 2: "));
    assert!(std::fs::read(path("onnx")).unwrap().windows(13).any(|name| name == b"probabilities"));
    let named: Vec<_> = (0..10).map(|digit| format!("--class-name=digit {digit}")).collect();
    let named: Vec<&str> = named.iter().map(String::as_str).collect();
    server.call(&[&["models", "import", &path("own"), "--image-height=28"], &named[..]].concat()).ok();
    let output = server.call(&["models", "show", "3", "--json"]).json();
    assert_eq!(output["classNames"][9], "digit 9");
    let printed = server.call(&["models", "import", &path("own"), "--image-width", "14"]).error();
    assert!(printed.contains("metadata.network") || printed.contains("fc.weight"), "{printed}");
    let printed = server.call(&["models", "import", &path("own"), "--layout", "paddle"]).error();
    assert!(printed.contains("say that the layout is libtorch's"), "{printed}");
    assert!(server.call(&["models", "show", "--version", "2"]).ok().contains("imported    from a file"));
}

/// The tutorial's network.
const LAYERS: &str = r#"{"layers": [
    {"conv": {"outChannels": 20, "kernelSize": 5, "padding": 2}}, {"relu": {}}, {"maxPool": {"kernelSize": 2}},
    {"conv": {"outChannels": 20, "kernelSize": 5, "padding": 2}}, {"relu": {}}, {"maxPool": {"kernelSize": 2}},
    {"flatten": {}}, {"name": "fc", "linear": {"outFeatures": 10}}]}"#;

#[test]
fn a_command_can_start_an_embedded_server() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().to_str().unwrap();
    let inside = ["--in-process", "--store", store];
    let plain = run(&[SMALL_RUN, &inside].concat()).ok();
    assert!(plain.contains("epoch 1/1") && plain.contains("completed after"), "{plain}");
    assert!(run(&[&["runs", "list"], &inside[..]].concat()).ok().contains("completed"));
}

#[test]
fn the_demo_shows_every_step_and_ends_when_requested() {
    let quick = ["demo", "--exit", "--dataset", "synthetic", "--epochs", "1", "--max-train-images", "300"];
    let place = ["--store", "memory:", "--grpc-addr", "127.0.0.1:0", "--http-addr", "off", "--threads", "1"];
    let output = run(&[&quick[..], &place].concat()).ok();
    for part in ["completed after", "precision", "20 350 parameters", "kernel ", "(label: prediction"] {
        assert!(output.contains(part), "{part} is not in\n{output}");
    }
    assert!(output.lines().all(|line| line.chars().count() <= 100), "{output}");
}

#[test]
fn a_rejected_field_is_named_with_its_reason() {
    let server = Server::start();
    let error = server.call(&["train", "--dataset", "synthetic", "--epochs", "0"]).error();
    assert!(error.starts_with("error: ") && error.contains("epochs"), "{error}");
    assert!(error.contains("  reason    INVALID_FIELD\n"), "{error}");
    let error = server.call(&["evaluate", "--model", "nobody"]).error();
    assert!(error.contains("MODEL_NOT_FOUND"), "{error}");
    let error = server.call(&["runs", "show", "0192f0c1-7d1e-7cc3-98c4-dc0c0c07398f"]).error();
    assert!(error.contains("RUN_NOT_FOUND"), "{error}");
}

#[test]
fn an_unreachable_server_is_reported_with_advice() {
    let error = run(&["runs", "list", "--server", "127.0.0.1:1"]).error();
    assert!(error.starts_with("error: no server answers at http://127.0.0.1:1"), "{error}");
    assert!(error.contains("digitd serve") && error.contains("--in-process"), "{error}");
    let error = run(&["runs", "list", "--server", "not an address"]).error();
    assert!(error.contains("it looks like http://127.0.0.1:8001"), "{error}");
}

#[test]
fn misspelt_flags_and_settings_are_rejected_with_a_suggestion() {
    let mut command = digitd();
    let usage = program::finish(command.args(["train", "--epoch", "3"]));
    assert_eq!(usage.code, Some(2));
    assert!(usage.stderr.contains("'--epochs'"), "{}", usage.stderr);
    let mut command = digitd();
    let setting = program::finish(command.arg("serve").env("DIGITD_SERVING_WORKER", "1"));
    assert!(setting.error().contains("did you mean DIGITD_SERVING_WORKERS?"));
}

#[test]
fn a_request_file_with_an_unknown_field_is_rejected() {
    let rejected =
        program::feed(digitd().args(["train", "--in-process", "--request", "-"]), b"{\"epoch\": 1}");
    let error = rejected.error();
    assert!(
        error.contains("standard input is not the JSON form of TrainRequest") && error.contains("epoch"),
        "{error}"
    );
}

#[test]
fn the_doctor_reports_each_check_and_fails_where_serving_would() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let healthy =
        run(&["doctor", "--json", "--data-dir", data, "--store", data, "--grpc-addr", "127.0.0.1:0"]);
    let checks = healthy.json();
    let state = |name| {
        checks.as_array().unwrap().iter().find(|check| check["name"] == name).unwrap()["state"].clone()
    };
    assert_eq!(
        (state("libtorch"), state("mnist"), state("store")),
        ("ok".into(), "optional".into(), "ok".into())
    );
    let ill = run(&["doctor", "--store", "/proc/nowhere"]);
    assert_eq!(ill.code, Some(1));
    assert!(ill.stdout.contains("missing") && ill.stdout.contains("--store"), "{}", ill.stdout);
}

#[test]
fn data_info_names_the_files_that_are_missing() {
    let folder = tempfile::tempdir().unwrap();
    let found = run(&["data", "info", "--data-dir", folder.path().to_str().unwrap()]);
    assert_eq!(found.code, Some(1));
    assert!(found.stdout.contains("missing  t10k-labels-idx1-ubyte.gz"), "{}", found.stdout);
}

#[test]
fn the_version_names_libtorch_too() {
    let version = run(&["--version"]).ok();
    assert!(version.starts_with(concat!("digitd ", env!("CARGO_PKG_VERSION"), " (libtorch 2.")), "{version}");
}
