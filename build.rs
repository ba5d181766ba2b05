//! Two things happen before the crate compiles: the services of the contract in `proto/` become Rust
//! traits (in OUT_DIR, never in `src/`), and every program built here learns where libtorch lies, so
//! that it starts with no exported variable.
//!
//! `scripts/libtorch` fetches libtorch; nothing is fetched here.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> Result<(), Box<dyn Error>> {
    remember_where_libtorch_lies();
    compile_services(Path::new("proto"))
}

/// Writes libtorch's folder into programs, tests, benches and examples as their run-time search path.
fn remember_where_libtorch_lies() {
    println!("cargo::rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    let lib =
        env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys is a direct dependency and exports its folder");
    println!("cargo::rustc-link-arg=-Wl,-rpath,{lib}");
    // An installed copy finds its libraries beside it: bin/digitd and lib/digitd/libtorch_cpu.so.
    println!("cargo::rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib/digitd");
    println!("cargo::rustc-env=DIGITD_LIBTORCH_VERSION={}", libtorch_version(Path::new(&lib)));
}

/// The version that libtorch's headers tell, for instance 2.11.0; the library itself tells none
/// that Rust could ask for.
fn libtorch_version(lib: &Path) -> String {
    let header = lib.with_file_name("include").join("torch/headeronly/version.h");
    let text = fs::read_to_string(&header).unwrap_or_default();
    let number = |part: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("#define TORCH_VERSION_{part} ")));
        line.map_or("?", str::trim)
    };
    ["MAJOR", "MINOR", "PATCH"].map(number).join(".")
}

/// Compiles the services of every `.proto` below `root` into `OUT_DIR/<package>.rs`. Messages, client stubs
/// and the descriptor set are those of the `digitd-client` crate.
fn compile_services(root: &Path) -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={}", root.display());
    let mut compiler = protox::Compiler::new([root])?;
    compiler.include_source_info(true).include_imports(true).open_files(proto_files(root)?)?;
    tonic_prost_build::configure()
        .build_client(false)
        .extern_path(".digitd.v1", "::digitd_client::v1")
        .extern_path(".inference", "::digitd_client::inference")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

/// Every `.proto` below `folder`, in name order, so that what is generated does not depend on the disk.
fn proto_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(proto_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
