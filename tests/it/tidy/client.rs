//! Rules for the client, the one room that is a crate of its own: who may use it, and what it may need.

use std::collections::HashMap;

use super::Rule;
use super::foreign::{crates_used, faults};
use super::rooms::{place_of, room_of};
use super::source::{Fault, Source};

pub const RULES: &[Rule] = &[
    Rule {
        name: "digitd_client in pb and right of client",
        check: client_used_from_the_left,
        broken: ("src/server/prediction.rs", "//! Prediction.\nuse digitd_client::v1::PredictRequest;\n"),
    },
    Rule {
        name: "the client needs no libtorch",
        check: libtorch_below_client,
        broken: (
            "Cargo.lock",
            "[[package]]\nname = \"digitd-client\"\ndependencies = [\"tch 0.24.0\"]\n\
             [[package]]\nname = \"tch\"\ndependencies = [\"torch-sys\"]\n\
             [[package]]\nname = \"torch-sys\"\n",
        ),
    },
];

const CLIENT: &str = "digitd-client";
const LIBTORCH: &str = "torch-sys";

/// The messages of the client's crate reach the server through `pb`; its calls are for those who call.
fn client_used_from_the_left(source: &Source) -> Vec<Fault> {
    let Some(room) = room_of(&source.path).filter(|room| !["pb", "client"].contains(room)) else {
        return Vec::new();
    };
    if place_of(room) > place_of("client") {
        return Vec::new();
    }
    faults(
        crates_used(source, |name| name == "digitd_client"),
        "take messages from `pb`; calls are made right of `client`",
    )
}

/// Follows the dependencies in Cargo.lock, those of tests and build scripts included.
fn libtorch_below_client(source: &Source) -> Vec<Fault> {
    if source.path != "Cargo.lock" {
        return Vec::new();
    }
    let lock: toml::Table = source.text.parse().expect("cargo writes TOML");
    let packages = lock["package"].as_array().expect("Cargo.lock lists packages");
    let dependencies: HashMap<&str, &toml::Value> = packages
        .iter()
        .filter_map(|package| Some((package["name"].as_str()?, package.get("dependencies")?)))
        .collect();
    let (mut needed, mut next) = (vec![CLIENT], 0);
    while let Some(package) = needed.get(next) {
        let below = dependencies.get(package).and_then(|list| list.as_array());
        for dependency in below.into_iter().flatten().filter_map(toml::Value::as_str) {
            // Where a package is there in two versions, the version follows the name.
            let name = dependency.split(' ').next().unwrap_or(dependency);
            if !needed.contains(&name) {
                needed.push(name);
            }
        }
        next += 1;
    }
    match needed.contains(&LIBTORCH) {
        true => vec![Fault::new(1, format!("`{CLIENT}` needs `{LIBTORCH}`; it must build without libtorch"))],
        false => Vec::new(),
    }
}

#[test]
fn the_client_is_held_to_the_rules_of_a_room() {
    let broken = [
        "use std::fmt;\n",
        "//! Client.\nfn f() { let _ = \"7\".parse::<u8>().unwrap(); }\n",
        "//! Client.\nfn f() { println!(\"connected\"); }\n",
        "//! Client.\nuse tch::Tensor;\n",
        "//! Client.\nuse object_store::ObjectStore;\n",
        "//! Client.\nmod stub { use super::super::Error; }\n",
    ];
    for text in broken {
        let source = Source::new("clients/rust/src/calls.rs", text);
        let caught = super::rules().any(|rule| !(rule.check)(&source).is_empty());
        assert!(caught, "no rule catches {text:?}");
    }
}

#[test]
fn modules_of_the_client_are_no_rooms() {
    let text = "//! Calls.\nuse crate::{Client, v1::Run};\nuse crate::error::Error;\nuse tonic::Status;\n";
    let source = Source::new("clients/rust/src/calls.rs", text);
    for rule in super::rules() {
        assert_eq!((rule.check)(&source), [], "rule `{}` cries wolf", rule.name);
    }
}
