//! TensorBoard's own reader on the event files of real runs.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use super::program::{self, SMALL_RUN, run};
use crate::support;

const READER: &str = include_str!("read_events.py");

fn python() -> Option<PathBuf> {
    support::python("tensorboard", "tensorboard")
}

fn read(python: &Path, folder: &Path) -> Value {
    let printed = program::finish(Command::new(python).args(["-c", READER]).arg(folder));
    printed.json()
}

#[test]
fn tensorboard_reads_what_was_written_while_a_run_trained() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (store, board) = (folder.path().join("store"), folder.path().join("board"));
    let args: Vec<&str> = SMALL_RUN.iter().copied().filter(|arg| !arg.starts_with("--epochs")).collect();
    let mut command = program::digitd();
    command.args(args).args(["--epochs=2", "--report-every=1", "--json", "--in-process", "--store"]);
    command.arg(&store).env("DIGITD_TENSORBOARD_DIR", &board);
    let events = program::finish(&mut command).json_lines();
    let run_id = events[0]["runId"].as_str().unwrap();
    let found = read(&python, &board.join(run_id));

    let exported = |kind: &str, field: &str| -> Vec<f64> {
        events.iter().filter_map(|event| event[kind][field].as_f64()).collect()
    };
    let check = |tag: &str, steps: &[i64], values: Vec<f64>| {
        let series: Vec<(i64, f64)> = serde_json::from_value(found["scalars"][tag].clone()).unwrap();
        assert_eq!(series.iter().map(|point| point.0).collect::<Vec<_>>(), steps, "{tag}");
        for ((_, found), exported) in series.iter().zip(values) {
            assert!((found - exported).abs() <= 1e-6 * exported.abs(), "{tag}: {found} for {exported}");
        }
    };
    let all: Vec<i64> = (1..=12).collect();
    for field in ["loss", "accuracy", "learning_rate"] {
        let camel = if field == "learning_rate" { "learningRate" } else { field };
        check(&format!("batch/{field}"), &all, exported("batch", camel));
    }
    check("epoch/train_loss", &[6, 12], exported("epoch", "trainLoss"));
    check("epoch/validation_accuracy", &[6, 12], exported("epoch", "validationAccuracy"));
    assert_eq!(found["histograms"]["weights/conv2.weight"], json!([[6, 10000.0], [12, 10000.0]]));
    assert_eq!(found["histograms"]["weights/fc.bias"], json!([[6, 10.0], [12, 10.0]]));
    // conv1 has 20 kernels in rows of 5, conv2 20 × 20; the kernels are 5 × 5.
    assert_eq!(found["images"]["kernels/conv1.weight"][0], json!([6, 5 * 41 + 1, 4 * 41 + 1]));
    assert_eq!(found["images"]["kernels/conv2.weight"].as_array().unwrap().len(), 2);
    assert!(found["images"].get("kernels/fc.weight").is_none());
}

#[test]
fn tensorboard_reads_an_exported_run() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (store, board) = (folder.path().join("store"), folder.path().join("board"));
    let inside = ["--in-process", "--store", store.to_str().unwrap()];
    let events = run(&[SMALL_RUN, &["--json"], &inside].concat()).json_lines();
    let run_id = events[0]["runId"].as_str().unwrap();
    let export = ["runs", "export", run_id, "--format", "tensorboard", "--output", board.to_str().unwrap()];
    run(&[&export[..], &inside].concat()).ok();
    let found = read(&python, &board.join(run_id));
    let accuracy = events.iter().find_map(|event| event["epoch"]["validationAccuracy"].as_f64()).unwrap();
    assert_eq!(found["scalars"]["epoch/validation_accuracy"][0][0], 6);
    assert!((found["scalars"]["epoch/validation_accuracy"][0][1].as_f64().unwrap() - accuracy).abs() < 1e-6);
    let rejected = [&export[..6], &["-"], &inside].concat();
    assert!(run(&rejected).error().contains("a folder"));
}
