//! What tests share: the folder of the reference data, and the programs that they run.

use std::{io::Write as _, path::PathBuf, process::Command};

use digitd::data::mnist::{self, FileStatus};

use crate::minio::Minio;

/// The folder of real MNIST: `data/mnist` in `DIGITD_TEST_DATA`, else `DIGITD_DATA_DIR`. None skips the test,
/// unless every test must run.
pub fn mnist_dir() -> Option<PathBuf> {
    let folder = |variable: &str| std::env::var_os(variable).map(PathBuf::from);
    let candidates = [folder("DIGITD_TEST_DATA").map(|it| it.join("data/mnist")), folder("DIGITD_DATA_DIR")];
    let has_it = |folder: &PathBuf| {
        let folders = [folder.clone()];
        mnist::survey(&folders).iter().all(|(_, finding)| matches!(finding, FileStatus::Good(_)))
    };
    let found = candidates.into_iter().flatten().find(has_it);
    if found.is_none() {
        skip("there is no MNIST: DIGITD_DATA_DIR names the folder of its four files");
    }
    found
}

/// A file of Paddle's reference numbers.
pub fn golden(file: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/paddle")).join(file)
}

/// A real S3 server. None skips the test, unless every test must run.
pub fn bucket_server() -> Option<&'static Minio> {
    Minio::shared().map_err(|message| skip(&message)).ok()
}

/// The Python of a folder in `.tools` that has this package. None skips the test, unless every test must run.
pub fn python(folder: &str, package: &str) -> Option<PathBuf> {
    let tools = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.tools"));
    let python = tools.join(folder).join("bin/python");
    let has_it = Command::new(&python).args(["-c", &format!("import {package}")]).output();
    if has_it.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    skip(&format!("{package} is not in .tools/{folder}: `make setup` installs it where python3 has venv"));
    None
}

/// Limits libtorch to this thread: its thread pool belongs to the process, and tests that train in parallel
/// would wait for each other in it.
pub fn one_torch_thread() {
    // The first call makes libtorch initialise the thread, which would undo a setting made before it.
    tch::get_num_threads();
    tch::set_num_threads(1);
}

/// Reports that a test was skipped; with DIGITD_TEST_STRICT=1, what is missing fails it.
pub fn skip(message: &str) {
    assert!(std::env::var("DIGITD_TEST_STRICT").as_deref() != Ok("1"), "{message}");
    // Written to standard error, because the test harness captures what a passing test prints.
    writeln!(std::io::stderr(), "skipped: {message}").expect("standard error takes a line");
}
