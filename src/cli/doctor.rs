//! `digitd doctor`: checks of this machine, with advice for what is missing. Changes nothing; in a bucket it
//! writes an object and removes it.

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{error::Error, exit::ExitStatus, terminal};
use crate::{
    config::{self, Flags, Settings},
    data::mnist::{self, FileStatus},
    engine::DeviceChoice,
    registry::Registry,
    report::text::{Color, Layout},
};

/// Check this machine for what digitd needs
///
/// Checks libtorch, devices, threads, MNIST, the store and the ports, as `digitd serve` with the same
/// settings would find them. The exit code is 1 if something is missing that serving needs.
#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    settings: Flags,
}

/// One check and its result.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    state: CheckState,
    found: String,
    /// Advice; empty where there is nothing to do.
    advice: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum CheckState {
    Ok,
    /// Absent, and serving works without it.
    Optional,
    /// Absent, and serving needs it.
    Missing,
}

pub async fn run(args: DoctorArgs) -> Result<ExitStatus, Error> {
    let settings = config::load(&args.settings, config::variables())?;
    let work = move || checks(&settings);
    let checks = tokio::task::spawn_blocking(work).await.map_err(|_| Error::Panicked("a check"))?;
    terminal::print(&match args.json {
        true => serde_json::to_string_pretty(&checks).expect("checks are texts") + "\n",
        false => text(&checks, terminal::layout()),
    });
    let lacks = checks.iter().any(|check| check.state == CheckState::Missing);
    Ok(if lacks { ExitStatus::Failure } else { ExitStatus::Success })
}

fn checks(settings: &Settings) -> Vec<Check> {
    let mut checks = vec![ok("digitd", env!("CARGO_PKG_VERSION")), libtorch(), threads(), cuda(settings)];
    checks.extend(data(&settings.data.dir));
    checks.push(store(&settings.store.url));
    checks.push(port("gRPC port", "--grpc-addr", settings.server.grpc_addr));
    checks.extend(settings.server.http_addr.get().map(|addr| port("HTTP port", "--http-addr", addr)));
    checks
}

fn libtorch() -> Check {
    match loaded("libtorch_cpu.so") {
        Some(path) => ok("libtorch", format!("{} at {}", env!("DIGITD_LIBTORCH_VERSION"), path.display())),
        None => Check {
            name: "libtorch",
            state: CheckState::Missing,
            found: "not loaded".to_owned(),
            advice: "run scripts/libtorch, then build again".to_owned(),
        },
    }
}

fn threads() -> Check {
    let number = std::thread::available_parallelism().map_or(1, usize::from);
    ok("cpu", format!("{number} threads"))
}

/// CUDA needs two things: the driver, and libtorch's CUDA library beside its CPU library.
fn cuda(settings: &Settings) -> Check {
    let state = match settings.compute.device {
        DeviceChoice::Cuda(_) => CheckState::Missing,
        DeviceChoice::Auto | DeviceChoice::Cpu => CheckState::Optional,
    };
    let absent = |found: &str, advice: &str| Check {
        name: "cuda",
        state,
        found: found.to_owned(),
        advice: advice.to_owned(),
    };
    let library = loaded("libtorch_cpu.so").map(|path| path.with_file_name("libtorch_cuda.so"));
    // A sandbox may hide the first of these files.
    let traces = ["/proc/driver/nvidia/version", "/dev/nvidiactl"];
    if !traces.iter().any(|path| Path::new(path).exists()) {
        return absent("no NVIDIA driver", "install one to use --device cuda");
    }
    let Some(path) = library.filter(|path| path.exists()) else {
        return absent(
            "libtorch without its CUDA library",
            "DIGITD_LIBTORCH=cuda scripts/libtorch fetches it",
        );
    };
    let device = match settings.compute.device {
        DeviceChoice::Cpu => DeviceChoice::Auto,
        other => other,
    };
    // Only a computation shows whether the device works.
    match device.probe() {
        Ok(()) => ok("cuda", format!("{} computes, with {}", gpus(), path.display())),
        Err(why) => absent(&why, "update the NVIDIA driver, or compute with --device cpu"),
    }
}

/// The names of the GPUs from the driver, as in `NVIDIA H200`.
fn gpus() -> String {
    let files = glob::glob("/proc/driver/nvidia/gpus/*/information").expect("the pattern is valid");
    let name = |file: PathBuf| {
        let text = std::fs::read_to_string(file).ok()?;
        Some(text.lines().find_map(|line| line.strip_prefix("Model:"))?.trim().to_owned())
    };
    let names: Vec<String> = files.filter_map(|file| name(file.ok()?)).collect();
    if names.is_empty() { "a GPU".to_owned() } else { names.join(", ") }
}

fn data(folder: &Path) -> Vec<Check> {
    let files = mnist::survey(&[folder.to_owned()]);
    if files.iter().all(|(_, finding)| matches!(finding, FileStatus::Missing)) {
        return vec![Check {
            name: "mnist",
            state: CheckState::Optional,
            found: format!("no file in {}", folder.display()),
            advice: "run `digitd data fetch`, or name a folder with --data-dir; synthetic is built in"
                .to_owned(),
        }];
    }
    let check = |(file, finding): (mnist::File, FileStatus)| match finding {
        FileStatus::Good(path) => ok("mnist", path.display().to_string()),
        FileStatus::Missing => Check {
            name: "mnist",
            state: CheckState::Optional,
            found: format!("no {} in {}", file.packed_name(), folder.display()),
            advice: "run `digitd data fetch`".to_owned(),
        },
        FileStatus::Bad(path, error) => Check {
            name: "mnist",
            state: CheckState::Optional,
            found: format!("{} is broken", path.display()),
            advice: error.to_string(),
        },
    };
    files.into_iter().map(check).collect()
}

fn store(url: &str) -> Check {
    let folder = match url.strip_prefix("file://") {
        Some(path) => PathBuf::from(path),
        None if url.starts_with("s3:") => return bucket(url),
        None if url.contains(':') => return ok("store", url),
        None => PathBuf::from(url),
    };
    let full = std::path::absolute(&folder).unwrap_or(folder);
    // The first start creates the folder; until then its nearest existing parent must be writable.
    let existing = full.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    match tempfile::tempfile_in(existing) {
        Ok(_) if existing == full => ok("store", format!("{} can be written", full.display())),
        Ok(_) => ok("store", format!("{} will be created by the first start", full.display())),
        Err(error) => Check {
            name: "store",
            state: CheckState::Missing,
            found: format!("{} cannot be written: {error}", existing.display()),
            advice: "name another folder with --store".to_owned(),
        },
    }
}

/// Whether a bucket can be written, which only writing shows.
fn bucket(url: &str) -> Check {
    match tokio::runtime::Handle::current().block_on(Registry::open(url)) {
        Ok(_) => ok("store", format!("{url} can be written")),
        Err(error) => Check {
            name: "store",
            state: CheckState::Missing,
            found: error.to_string(),
            advice: "set the variables that it names, or name another place with --store".to_owned(),
        },
    }
}

fn port(name: &'static str, flag: &str, addr: SocketAddr) -> Check {
    match TcpListener::bind(addr) {
        Ok(_) => ok(name, format!("{addr} is free")),
        Err(error) => Check {
            name,
            state: CheckState::Optional,
            found: format!("{addr} is not free: {error}"),
            advice: format!("a server may be running there already; else choose another with {flag}"),
        },
    }
}

fn ok(name: &'static str, found: impl Into<String>) -> Check {
    Check { name, state: CheckState::Ok, found: found.into(), advice: String::new() }
}

/// The file that a library of this process was loaded from.
fn loaded(library: &str) -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let path =
        maps.lines().filter_map(|line| line.split_once('/')).find(|(_, path)| path.ends_with(library))?.1;
    Some(PathBuf::from(format!("/{path}")))
}

fn text(checks: &[Check], layout: Layout) -> String {
    let mut text = String::new();
    for check in checks {
        let (word, style) = match check.state {
            CheckState::Ok => ("ok", console::Style::new().green()),
            CheckState::Optional => ("absent", console::Style::new().yellow()),
            CheckState::Missing => ("missing", console::Style::new().red()),
        };
        let word = style.force_styling(layout.color == Color::On).apply_to(format!("{word:<8}"));
        text += &format!("{word} {:<10} {}\n", check.name, check.found);
        if !check.advice.is_empty() {
            text += &format!("{:<19} {}\n", "", check.advice);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_parts_are_reported_with_advice() {
        let folder = tempfile::tempdir().unwrap();
        let shown = text(&data(folder.path()), Layout::PLAIN);
        assert!(shown.starts_with("absent   mnist") && shown.contains("digitd data fetch"), "{shown}");
    }

    #[test]
    fn a_check_does_not_create_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/store");
        assert_eq!(store(path.to_str().unwrap()).state, CheckState::Ok);
        assert!(!path.exists());
        assert_eq!(store("/proc/store").state, CheckState::Missing);
    }

    #[test]
    fn a_port_in_use_is_reported() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let check = port("gRPC port", "--grpc-addr", taken.local_addr().unwrap());
        assert!(check.state == CheckState::Optional && check.advice.contains("--grpc-addr"), "{check:?}");
    }
}
