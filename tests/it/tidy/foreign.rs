//! Invariant 1 of `src/lib.rs`: which room may touch which foreign crate, and where the program may
//! print, wait or open a socket.

use super::Rule;
use super::rooms::{place_of, room_of};
use super::source::{Fault, Source, Token};

pub const RULES: &[Rule] = &[
    Rule {
        name: "tonic and prost from pb rightward",
        check: wire,
        broken: ("src/engine/mod.rs", "//! Engine.\npub fn f() -> tonic::Status { todo() }\n"),
    },
    Rule {
        name: "tonic stays out of the files of checkpoint",
        check: wire,
        broken: ("src/checkpoint/onnx/mod.rs", "//! ONNX.\nuse tonic::Status;\n"),
    },
    Rule {
        name: "prost in checkpoint for ONNX alone",
        check: wire,
        broken: ("src/checkpoint/arrays.rs", "//! Arrays.\nuse prost::Message;\n"),
    },
    Rule {
        name: "tch from data to train and on the threads that compute",
        check: tensors,
        broken: ("src/server/prediction.rs", "//! Prediction.\nuse tch::Tensor;\n"),
    },
    Rule {
        name: "object_store in registry alone",
        check: store,
        broken: ("src/runs/publish.rs", "//! Publishing.\nuse {object_store::ObjectStore, std::fmt};\n"),
    },
    Rule {
        name: "synchronous and offline left of registry",
        check: waiting,
        broken: ("src/train/fit.rs", "//! Fit.\nuse std::net::TcpStream;\n"),
    },
    Rule {
        name: "nothing prints left of cli",
        check: printing,
        broken: ("src/server/mod.rs", "//! Server.\nfn f() { println!(\"started\"); }\n"),
    },
];

/// The code right of `train` that runs on the threads that own networks.
const COMPUTING: [&str; 3] = ["src/compute/", "src/runs/arrays.rs", "src/serving/worker.rs"];
/// The one thing left of registry that goes online: it downloads data sets, blocking.
const DOWNLOADER: &str = "src/data/fetch";
/// The one place left of pb that encodes protocol buffers: ONNX is a file format made of them.
const PROTOBUF_FILES: &str = "src/checkpoint/onnx/";
const ONLINE_CRATES: [&str; 8] = ["tokio", "futures", "axum", "tower", "hyper", "http", "reqwest", "ureq"];
const PRINTING_MACROS: [&str; 4] = ["print", "println", "eprint", "eprintln"];

fn wire(source: &Source) -> Vec<Fault> {
    if !stands_left_of(source, "pb") {
        return Vec::new();
    }
    let encodes_files = source.path.starts_with(PROTOBUF_FILES);
    let is_wire = |name: &str| name.starts_with("tonic") || (name.starts_with("prost") && !encodes_files);
    faults(crates_used(source, is_wire), "only `pb` and rooms to its right know the wire")
}

fn tensors(source: &Source) -> Vec<Fault> {
    let is_worker = COMPUTING.iter().any(|path| source.path.starts_with(path));
    let is_numeric = !stands_left_of(source, "data") && stands_left_of(source, "registry");
    if room_of(&source.path).is_none() || is_worker || is_numeric {
        return Vec::new();
    }
    faults(
        crates_used(source, |name| name == "tch" || name == "torch_sys"),
        "tensors stay left of `registry`",
    )
}

fn store(source: &Source) -> Vec<Fault> {
    match room_of(&source.path) {
        None | Some("registry") => Vec::new(),
        Some(_) => faults(crates_used(source, |name| name == "object_store"), "ask `registry` instead"),
    }
}

fn waiting(source: &Source) -> Vec<Fault> {
    if !stands_left_of(source, "registry") || source.path.starts_with(DOWNLOADER) {
        return Vec::new();
    }
    let online = crates_used(source, |name| ONLINE_CRATES.contains(&name));
    let keywords = source.tokens.iter().filter(|token| token.text == "async" || token.text == "await");
    let sockets = source.find(&["std", "::", "net"]).map(|path| &path[0]);
    faults(
        online.chain(keywords).chain(sockets),
        "rooms left of `registry` are synchronous and open no socket",
    )
}

fn printing(source: &Source) -> Vec<Fault> {
    if !stands_left_of(source, "cli") {
        return Vec::new();
    }
    let calls = source.find(&["*", "!"]).map(|call| &call[0]);
    let prints = calls.filter(|name| !name.test && PRINTING_MACROS.contains(&name.text.as_str()));
    faults(prints, "return it, or tell it with `tracing`; only `cli` prints")
}

fn stands_left_of(source: &Source, room: &str) -> bool {
    let limit = place_of(room).unwrap_or_else(|| panic!("`{room}` has no place in src/lib.rs"));
    room_of(&source.path).and_then(place_of).is_some_and(|place| place < limit)
}

/// The first word of each path into a crate that `wanted` names, also in `use` groups.
pub fn crates_used<'a>(
    source: &'a Source,
    wanted: impl Fn(&str) -> bool + 'a,
) -> impl Iterator<Item = &'a Token> {
    (0..source.tokens.len()).filter_map(move |index| {
        let token = &source.tokens[index];
        let before = index.checked_sub(1).map_or("", |index| source.tokens[index].text.as_str());
        let after = source.tokens.get(index + 1).map_or("", |token| token.text.as_str());
        let leads_a_path = after == "::" && before != "::";
        let is_imported = before == "use" && (after == ";" || after == "as");
        ((leads_a_path || is_imported) && wanted(&token.text)).then_some(token)
    })
}

pub fn faults<'a>(tokens: impl Iterator<Item = &'a Token>, message: &str) -> Vec<Fault> {
    tokens.map(|token| Fault::new(token.line, format!("`{}`: {message}", token.text))).collect()
}
