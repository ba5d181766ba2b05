//! `digitd inspect`: tables, images in the terminal, values, and the page.

use super::program::{SMALL_RUN, Server};

/// A server with two versions.
fn server() -> Server {
    let server = Server::start();
    server.call(SMALL_RUN).ok();
    server.call(&[SMALL_RUN, &["--seed=1"]].concat()).ok();
    server
}

#[test]
fn everything_that_is_requested_is_shown_below_the_table() {
    let server = server();
    let output = server
        .call(&["inspect", "--gradients", "--saliency", "--occlusion", "--health", "--max-images=200"])
        .ok();
    let row = output.lines().find(|line| line.contains("conv2")).unwrap();
    let words: Vec<&str> = row.split_whitespace().collect();
    let settings = ["k=5", "s=1", "p=2", "g=1", "[1,20,14,14]", "[1,20,14,14]", "10", "020", "1.96", "M"];
    assert_eq!(words[2..12], settings, "{row}");
    assert!(
        output.contains("Bytes: 3.1 kB input [1,1,28,28], 180.4 kB outputs, 81.4 kB parameters"),
        "{output}"
    );
    for part in [
        "gradients of the loss for label ",
        "saliency of class ",
        "a brighter pixel lowers the logit",
        "occlusion of class ",
        "health on 200 test images of synthetic: ",
    ] {
        assert!(output.contains(part), "{part:?} is not in\n{output}");
    }
    assert!(output.lines().all(|line| line.chars().count() <= 100), "{output}");

    let json = server.call(&["inspect", "--health", "--max-images=20", "--split=train", "--json"]).json();
    assert_eq!((&json["health"]["images"], &json["health"]["split"]), (&20.into(), &"SPLIT_TRAIN".into()));
    let usage = server.call(&["inspect", "--label", "3"]);
    assert_eq!(usage.code, Some(2), "{}", usage.stderr);
}

#[test]
fn two_versions_and_the_values_of_a_parameter_are_shown() {
    let server = server();
    let output = server.call(&["inspect", "--compare", "1", "--version", "2", "--max-images=300"]).ok();
    assert!(output.contains("digits version 2 compared with digits version 1: accuracy "), "{output}");
    assert!(output.contains("changed predictions: ") && output.contains("conv1.weight"), "{output}");

    let values = server.call(&["inspect", "--parameter", "fc.bias", "--parameter", "conv1.weight"]).ok();
    let lines: Vec<&str> = values.lines().collect();
    assert_eq!((lines[0], lines[101]), ("conv1.weight [20,1,5,5]", "fc.bias [10]"));
    let biases: Vec<f64> = lines[102].split(' ').map(|number| number.parse().unwrap()).collect();
    let json = server.call(&["inspect", "--parameter", "fc.bias", "--json"]).json_lines();
    let numbers: Vec<f64> =
        json[0]["numbers"].as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect();
    assert_eq!(biases, numbers);
    let printed = server.call(&["inspect", "--parameter", "fc"]).error();
    assert!(printed.contains("names") && printed.contains("fc.bias"), "{printed}");
}

#[test]
fn a_page_holds_everything_in_one_file() {
    let server = server();
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("deep/report");
    let output = output.to_str().unwrap();
    let printed =
        server.call(&["inspect", "--output", output, "--compare=1", "--version=2", "--max-images=200"]).ok();
    assert_eq!(printed, format!("{output}/index.html shows digits version 2\n"));
    let page = std::fs::read_to_string(format!("{output}/index.html")).unwrap();
    // There are kernels of two layers, feature maps of seven, saliency, occlusion, and histograms of two.
    assert_eq!(page.matches("src=\"data:image/png;base64,").count(), 13);
    for part in [
        "Inspection of digits version 2",
        "Findings",
        "conv1.weight",
        "Gradients",
        "Saliency",
        "Histograms",
        "digits version 2 compared with digits version 1",
        "Total: 20 350 parameters",
    ] {
        assert!(page.contains(part), "{part:?} is not on the page");
    }
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("<script"));
    let printed = server.call(&["inspect", "--output", "/dev/null/report"]).error();
    assert!(printed.contains("cannot create the folder /dev/null/report"), "{printed}");
}

#[test]
fn an_ended_run_is_shown_by_its_version() {
    let server = server();
    let runs = server.call(&["runs", "list", "--json"]).json();
    let run = runs["runs"][0]["runId"].as_str().unwrap();
    let output = server.call(&["inspect", "--run", run]).ok();
    assert!(
        output.starts_with(&format!("digits version 2: run {run} (completed) after epoch 1\n")),
        "{output}"
    );
    assert_eq!(server.call(&["inspect", "--run", run, "--version", "1"]).code, Some(2));
}
