//! Compiles the contract in `proto/` into messages, client stubs and one descriptor set, all in
//! `OUT_DIR`. The server side is generated where the server is: by the build script of the `digitd` crate.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> Result<(), Box<dyn Error>> {
    compile_contract(Path::new("proto"))
}

/// Compiles every `.proto` below `root` into `OUT_DIR/<package>.rs` and `OUT_DIR/digitd.bin`.
///
/// The descriptor set keeps the comments, because the server's reflection shows them to its callers.
fn compile_contract(root: &Path) -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={}", root.display());
    let mut compiler = protox::Compiler::new([root])?;
    compiler.include_source_info(true).include_imports(true).open_files(proto_files(root)?)?;

    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("digitd.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        .build_server(false)
        // Images and weights stay slices of the message in which they arrived.
        .bytes(".")
        // Maps are in key order, so that equal messages have equal text and equal bytes everywhere.
        .btree_map(".")
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
