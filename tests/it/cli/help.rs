//! `--help` of every command, compared with files; `UPDATE_GOLDEN=1` rewrites them.

use std::{fs, path::Path};

use super::program::run;

const COMMANDS: &[&str] = &[
    "",
    "serve",
    "train",
    "evaluate",
    "inspect",
    "predict",
    "runs",
    "runs list",
    "runs show",
    "runs watch",
    "runs plot",
    "runs compare",
    "runs export",
    "runs cancel",
    "models",
    "models list",
    "models versions",
    "models show",
    "models set-alias",
    "models history",
    "models rollback",
    "models delete",
    "models import",
    "models export",
    "data",
    "data fetch",
    "data info",
    "doctor",
    "demo",
];

#[test]
fn help_is_what_its_golden_file_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/help");
    let mut stale = Vec::new();
    for command in COMMANDS {
        let output =
            run(&command.split(' ').filter(|word| !word.is_empty()).chain(["--help"]).collect::<Vec<_>>())
                .ok();
        for line in output.lines() {
            assert!(line.chars().count() <= 100, "too wide in `{command}`: {line}");
        }
        let path = folder.join(format!("{}.txt", ["digitd", command].join(" ").trim().replace(' ', "-")));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, &output).unwrap();
        } else if fs::read_to_string(&path).ok().as_ref() != Some(&output) {
            stale.push(format!("{}:\n{output}", path.display()));
        }
    }
    assert!(stale.is_empty(), "UPDATE_GOLDEN=1 rewrites these:\n{}", stale.join("\n"));
}
