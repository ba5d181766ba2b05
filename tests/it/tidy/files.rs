//! Rules for files of every kind: their size, and words that tie them to one machine.

use super::Rule;
use super::source::{Fault, Source};

pub const RULES: &[Rule] = &[
    Rule {
        name: "no path of one machine",
        check: machine_path,
        broken: ("README.md", "# digitd\nUnpack it in {MACHINE}digitd.\n"),
    },
    Rule {
        name: "no package registry by name",
        check: registry_host,
        broken: ("scripts/fetch", "curl https://{HOST}/simple/torch\n"),
    },
];

const LARGEST: usize = 1_000_000;

/// Spelt in two halves, so that this file keeps its own rule.
pub const MACHINE_PATHS: [&str; 2] = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];
pub const REGISTRY_HOSTS: [&str; 5] = [
    concat!("py", "pi.org"),
    concat!("python", "hosted.org"),
    concat!("registry.", "npmjs.org"),
    concat!("proxy.", "golang.org"),
    concat!("static.", "crates.io"),
];

fn machine_path(source: &Source) -> Vec<Fault> {
    lines_with(source, |line| {
        MACHINE_PATHS.into_iter().find(|path| {
            line.match_indices(path).any(|(at, _)| {
                // Behind a word or a variable the same letters are part of a longer, relative path.
                let before = line[..at].chars().next_back();
                !before.is_some_and(|c| c.is_alphanumeric() || "._-}$)*".contains(c))
            })
        })
    })
}

fn registry_host(source: &Source) -> Vec<Fault> {
    lines_with(source, |line| REGISTRY_HOSTS.into_iter().find(|host| line.contains(host)))
}

pub fn too_large(source: &Source) -> Vec<Fault> {
    let size = source.bytes;
    if size <= LARGEST {
        return Vec::new();
    }
    vec![Fault::new(1, format!("{size} bytes; fetch or generate it instead, {LARGEST} is the limit"))]
}

fn lines_with(source: &Source, forbidden: impl Fn(&str) -> Option<&'static str>) -> Vec<Fault> {
    let lines = source.text.lines().enumerate();
    let faults = lines.filter_map(|(index, line)| Some((index + 1, forbidden(line)?)));
    faults.map(|(line, word)| Fault::new(line, format!("`{word}` has no meaning elsewhere"))).collect()
}
