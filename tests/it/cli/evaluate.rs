//! `digitd evaluate` and its gate, as people and scripts use them.

use super::program::{SMALL_RUN, Server};

#[test]
fn two_versions_are_compared_and_the_report_is_self_contained() {
    let server = Server::start();
    server.call(SMALL_RUN).ok();
    server.call(&[SMALL_RUN, &["--seed=1"]].concat()).ok();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html").to_str().unwrap().to_owned();
    let arguments =
        ["evaluate", "--compare", "1", "--temperature", "--misclassified", "4", "--output", &path];
    let printed = server.call(&arguments).ok();
    for part in [
        "digits version 2 on synthetic test: accuracy ",
        "  95 % interval",
        "  temperature ",
        "weighted",
        "Confusion matrix (rows: labels, columns: predictions):",
        "Compared with digits version 1:",
        "McNemar's test: p ",
        "Misclassified images:",
        "The report is ",
    ] {
        assert!(printed.contains(part), "{part} is not in\n{printed}");
    }
    assert!(printed.lines().all(|line| line.chars().count() <= 100), "{printed}");
    let page = std::fs::read_to_string(&path).unwrap();
    assert_eq!(page.matches("src=\"data:image/png;base64,").count(), 4);
    for part in
        ["<h1>digits version 2 on synthetic test</h1>", "<svg", "Comparison with digits version 1", "Changed"]
    {
        assert!(page.contains(part), "{part} is not in the report");
    }
    let drawn = server.call(&["evaluate", "--pictures", "--misclassified", "2"]).ok();
    assert!(drawn.contains("██"), "{drawn}");
    let json = server.call(&["evaluate", "--json", "--split", "validation"]).json();
    assert!(json["accuracyLow"].as_f64() < json["accuracy"].as_f64(), "{json}");
}

#[test]
fn the_gate_moves_an_alias_or_fails_with_the_measured_values() {
    let server = Server::start();
    server.call(SMALL_RUN).ok();
    let gate = ["evaluate", "--split=validation", "--promote", "production", "--reason", "gated", "--by=ana"];
    let rejected = server.call(&[&gate[..], &["--require", "accuracy>=0.9999"]].concat()).error();
    assert!(rejected.contains("accuracy>=0.9999 (it is 0."), "{rejected}");
    assert!(rejected.contains("  reason    REQUIREMENT_NOT_MET\n"), "{rejected}");
    assert!(server.call(&["models", "history", "production"]).error().contains("ALIAS_NOT_FOUND"));

    // If the report cannot be written, the alias does not move; if the gate fails, an existing report is
    // kept.
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (holds, fails) = ("accuracy>=0.05", "accuracy>=0.9999");
    let report = |require, name: &str| {
        server.call(&[&gate[..], &["--require", require, "--output", &path(name)]].concat()).error()
    };
    assert!(report(holds, "nowhere/report.html").contains("cannot write"));
    assert!(server.call(&["models", "history", "production"]).error().contains("ALIAS_NOT_FOUND"));
    std::fs::write(path("old.html"), "old").unwrap();
    report(fails, "old.html");
    report(fails, "new.html");
    assert_eq!(std::fs::read(path("old.html")).unwrap(), b"old");
    assert!(!std::fs::exists(path("new.html")).unwrap());

    let moved = server.call(&[&gate[..], &["--require", "accuracy>=0.05", "--require=loss<9"]].concat()).ok();
    assert!(moved.contains("\naccuracy>=0.05 (0.") && moved.contains(") is met\n"), "{moved}");
    assert!(moved.contains("\nproduction points to version 1\nmeasured: accuracy>=0.05 (0."), "{moved}");
    let history = server.call(&["models", "history", "production", "--json"]).json();
    let evidence = &history["assignments"][0]["evidence"];
    assert_eq!(evidence["results"][1]["requirement"], "loss<9");
    assert_eq!(evidence["dataset"]["name"], "synthetic");
    let wrong = server.call(&["evaluate", "--require", "accuracy>=99%"]).error();
    assert!(wrong.contains("require[0]") && wrong.contains("INVALID_FIELD"), "{wrong}");
    let noted = server.call(&["evaluate", "--reason", "better"]).error();
    assert!(noted.contains("--promote"), "{noted}");
    let alone = server.call(&["evaluate", "--promote", "production"]);
    assert_eq!(alone.code, Some(2), "{}", alone.stderr);
}

#[test]
fn an_alias_is_set_only_where_its_requirements_are_met() {
    let server = Server::start();
    server.call(SMALL_RUN).ok();
    let set = ["models", "set-alias", "production", "1", "--split", "validation", "--require"];
    let rejected = server.call(&[&set[..], &["loss<=0.00001"]].concat()).error();
    assert!(rejected.contains("loss<=0.00001 (it is "), "{rejected}");
    let moved = server.call(&[&set[..], &["loss<=9"]].concat()).ok();
    assert!(moved.starts_with("production points to version 1\nmeasured: loss<=9 ("), "{moved}");
    assert!(moved.ends_with(") on synthetic validation\n"), "{moved}");
}
