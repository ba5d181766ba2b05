//! `digitd predict`: files, patterns, folders, standard input, and inputs that are no image.

use std::path::Path;

use digitd::data::{
    image::to_png,
    synthetic::{self, DigitStream},
};
use tempfile::TempDir;

use super::program::{SMALL_RUN, Server};

/// A server with a version, and a folder with the first built-in test digits as `0.png`, `1.png` and so on.
fn server_and_digits(count: usize) -> (Server, TempDir) {
    let server = Server::start();
    server.call(SMALL_RUN).ok();
    let folder = tempfile::tempdir().unwrap();
    let digits = synthetic::draw(0, DigitStream::Test, 0..count);
    for index in 0..count {
        let png = to_png(digits.image(index), 28, 28);
        std::fs::write(folder.path().join(format!("{index}.png")), png).unwrap();
    }
    (server, folder)
}

fn path(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

/// The last part of each line's file name.
fn names(lines: &[serde_json::Value]) -> Vec<&str> {
    let paths = lines.iter().map(|line| Path::new(line["requestId"].as_str().unwrap()));
    paths.map(|path| path.file_name().unwrap().to_str().unwrap()).collect()
}

#[test]
fn images_come_from_files_patterns_folders_and_standard_input() {
    let (server, folder) = server_and_digits(5);
    let whole = folder.path().to_str().unwrap();
    let read = |name: &str| server.call(&["predict", "--json", name]).json_lines();
    let one = read(&path(&folder, "3.png"));
    let response = &one[0]["response"];
    assert_eq!((&response["name"], &response["version"]), (&"digits".into(), &1.into()));
    assert_eq!(response["predictions"][0]["probabilities"].as_array().unwrap().len(), 10);
    assert_eq!(response["predictions"][0]["quality"], "QUALITY_GOOD");
    let all = ["0.png", "1.png", "2.png", "3.png", "4.png"];
    assert_eq!(names(&read(&path(&folder, "*.png"))), all);
    assert_eq!(names(&read(whole)), all);
    assert_eq!(names(&read(&path(&folder, "[1-2].png"))), all[1..3]);
    let digit = synthetic::draw(0, DigitStream::Test, 0..1);
    let piped = server.feed(&["predict", "-"], digit.image(0)).ok();
    assert!(piped.starts_with("-: ") && piped.contains("██"), "{piped}");
    let file = std::fs::read(path(&folder, "0.png")).unwrap();
    assert!(server.feed(&["predict", "-", "--brief"], &file).ok().starts_with("-: "));
}

#[test]
fn an_unreadable_image_is_named_and_the_others_are_read() {
    let (server, folder) = server_and_digits(2);
    let [first, torn, missing, second] =
        ["0.png", "torn.png", "gone.png", "1.png"].map(|name| path(&folder, name));
    std::fs::write(&torn, "no image").unwrap();
    let names_given = [first.as_str(), &torn, &missing, &second];
    let printed = server.call(&[&["predict", "--brief"], &names_given[..]].concat());
    assert_eq!(printed.code, Some(1));
    let read: Vec<&str> = printed.stdout.lines().collect();
    assert!(read.len() == 2 && read[0].starts_with(&first) && read[1].starts_with(&second), "{read:?}");
    let lines: Vec<&str> = printed.stderr.lines().collect();
    assert!(lines[0].starts_with(&format!("{torn}: image is of no known format: send PNG")), "{lines:?}");
    assert!(lines[1].starts_with(&format!("{missing}: cannot be read")), "{lines:?}");
    assert_eq!(lines[2..], ["2 of 4 images could not be read"]);

    let printed = server.call(&[&["predict", "--json"], &names_given[..]].concat());
    assert_eq!(printed.code, Some(1));
    let lines: Vec<serde_json::Value> =
        printed.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(names(&lines), ["0.png", "torn.png", "gone.png", "1.png"]);
    assert_eq!(
        (&lines[1]["error"]["code"], &lines[1]["error"]["reason"]),
        (&3.into(), &"INVALID_FIELD".into())
    );
    assert_eq!(lines[2]["error"]["reason"], "FILE_UNREADABLE");
    assert!(lines[3]["response"].is_object());
}

#[test]
fn more_images_than_are_read_ahead_keep_their_order() {
    let (server, folder) = server_and_digits(60);
    let files: Vec<String> = (0..60).map(|index| path(&folder, &format!("{index}.png"))).collect();
    let args: Vec<&str> =
        ["predict", "--brief"].into_iter().chain(files.iter().map(String::as_str)).collect();
    let read = server.call(&args).ok();
    assert_eq!(read.lines().count(), 60);
    assert!(read.lines().zip(&files).all(|(line, file)| line.starts_with(&format!("{file}: "))), "{read}");
}

#[test]
fn a_version_is_one_argument_and_an_invalid_one_ends_the_command() {
    let (server, folder) = server_and_digits(2);
    server.call(SMALL_RUN).ok();
    let (one, two) = (path(&folder, "0.png"), path(&folder, "1.png"));
    let by = |model: &str| server.call(&["predict", "--brief", &one, &two, "--model", model]);
    assert!(by("digits/1").ok().lines().all(|line| line.ends_with("by digits version 1")));
    assert!(by("digits/latest").ok().lines().all(|line| line.ends_with("by digits version 2")));
    let error = by("digits/beta").error();
    assert!(error.starts_with("error: ") && error.contains("ALIAS_NOT_FOUND"), "{error}");
    assert_eq!(error.matches("ALIAS_NOT_FOUND").count(), 1, "reported once, not for every image");
    let twice = server.call(&["predict", &one, "--model", "digits/1", "--version", "2"]).error();
    assert!(twice.contains("leave out --version"), "{twice}");
}

#[test]
fn an_empty_sheet_is_no_digit() {
    let (server, folder) = server_and_digits(0);
    let sheet = path(&folder, "sheet.png");
    std::fs::write(&sheet, to_png(&[240; 100 * 80], 100, 80)).unwrap();
    let read = server.call(&["predict", &sheet]).ok();
    assert_eq!(read, format!("{sheet}: no digit: the image is blank, by digits version 1\n\n"));
}
