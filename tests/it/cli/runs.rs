//! Runs as plots, tables and files for other programs.

use super::program::{SMALL_RUN, Server};

/// A server with two runs that differ in their optimisers, and their ids.
fn two_runs() -> (Server, [String; 2]) {
    let server = Server::start();
    let train = |more: &[&str]| {
        let events = server.call(&[SMALL_RUN, &["--report-every=1", "--json"], more].concat()).json_lines();
        events[0]["runId"].as_str().unwrap().to_owned()
    };
    let runs = [train(&[]), train(&["--optimizer=sgd", "--learning-rate=0.5"])];
    (server, runs)
}

#[test]
fn runs_are_drawn_as_svg_and_png() {
    let (server, [first, second]) = two_runs();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();

    let (svg, png) = (file("both.svg"), file("newest.png"));
    let printed =
        server.call(&["runs", "plot", &first, &second, "--output", &svg, "--log", "--smoothing=0.5"]).ok();
    assert_eq!(printed, format!("{svg} shows {first}, {second}\n"));
    let drawn = std::fs::read_to_string(&svg).unwrap();
    for words in ["sgd", "learning_rate 0.5", "smoothed by 0.5", "validation", "(logarithmic)", "epoch"] {
        assert!(drawn.contains(words), "{words} is not in the image");
    }
    // The newest run is used if none is named.
    let printed = server.call(&["runs", "plot", "--output", &png, "--x=step", "--json"]).json();
    assert_eq!(printed["runIds"], serde_json::json!([second]));
    let drawn = image::open(&png).unwrap().into_rgb8();
    let blue = drawn.pixels().filter(|pixel| pixel.0 == [0, 114, 178]).count();
    assert!(drawn.width() == 1200 && blue > 500, "{blue}");
}

#[test]
fn an_impossible_plot_is_rejected_with_the_reason() {
    let (server, [first, _]) = two_runs();
    let printed = server.call(&["runs", "plot", &first, "--output", "loss.pdf"]).error();
    assert!(printed.contains("loss.pdf") && printed.contains(".svg or .png"), "{printed}");
    let printed = server.call(&["runs", "plot", &first, &first, "--output", "loss.png"]).error();
    assert!(printed.contains("is named twice: name each run once"), "{printed}");
    let printed = server.call(&["runs", "plot", &first, "--output", "/nowhere/loss.png"]).error();
    assert!(printed.contains("cannot write /nowhere/loss.png"), "{printed}");
    let usage = server.call(&["runs", "plot", "--output", "loss.png", "--smoothing", "1"]);
    assert!(usage.code == Some(2) && usage.stderr.contains("below 1"), "{}", usage.stderr);
    let printed = Server::start().call(&["runs", "plot", "--output", "loss.png"]).error();
    assert!(printed.contains("there is no run yet"), "{printed}");
}

#[test]
fn runs_are_compared_by_their_requests_and_results() {
    let (server, [first, second]) = two_runs();
    let output = server.call(&["runs", "compare", &first, &second]).ok();
    let row = |name: &str| output.lines().find(|line| line.trim().starts_with(name)).unwrap_or_default();
    assert!(row("optimizer ").contains("adam") && row("optimizer ").contains("sgd"), "{output}");
    assert!(row("validation accuracy").matches('%').count() == 2 && !row("images/s").is_empty(), "{output}");
    assert!(!output.contains("batch_size"), "what is the same is left out:\n{output}");

    let json = server.call(&["runs", "compare", &first, &second, "--json"]).json();
    assert_eq!(json["differences"]["optimizer.learning_rate"], serde_json::json!(["0.003", "0.5"]));
    assert_eq!((&json["runs"][1]["runId"], &json["runs"][1]["version"]), (&second.into(), &2.into()));
    assert!(json["runs"][0]["validationAccuracy"].is_f64() && json["runs"][0]["seconds"].is_f64(), "{json}");
}

#[test]
fn a_run_is_exported_for_other_programs() {
    let (server, [first, _]) = two_runs();
    let lines = server.call(&["runs", "export", &first, "--format", "jsonl", "--output", "-"]).json_lines();
    assert_eq!(lines, server.call(&["runs", "watch", &first, "--json"]).json_lines());
    let rejected = server.call(&["runs", "export", &first, "--format", "csv", "--output", "-", "--json"]);
    assert!(rejected.error().contains("--format says"), "what it is asked for is not JSON");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.csv");
    server.call(&["runs", "export", &first, "--format", "csv", "--output", path.to_str().unwrap()]).ok();
    let text = std::fs::read_to_string(&path).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    let column = |name| rows[0].iter().position(|column| *column == name).unwrap();
    // There are six batches of 50 images, and the epoch.
    assert_eq!(rows.len(), 1 + 6 + 1, "{text}");
    let loss = lines.iter().find_map(|event| event["batch"]["loss"].as_f64()).unwrap();
    assert_eq!(rows[1][column("loss")].parse::<f64>().unwrap(), loss);
    assert!(rows[7][column("event")] == "epoch" && !rows[7][column("validation_loss")].is_empty(), "{text}");
}

#[test]
fn a_version_is_shown_by_its_number_alone() {
    let (server, _) = two_runs();
    assert!(server.call(&["models", "show", "1"]).ok().contains("version     1\n"));
    let both = server.call(&["models", "show", "1", "--version", "2"]);
    assert_eq!(both.code, Some(2), "{}", both.stderr);
    let narrow = server.command(&["runs", "list"]).env("COLUMNS", "80").output().unwrap();
    let narrow = String::from_utf8(narrow.stdout).unwrap();
    assert!(narrow.lines().all(|line| line.chars().count() <= 80) && narrow.lines().count() == 4, "{narrow}");
}
