//! ARCHITECTURE.md says what is true: the order and the invariants that `src/lib.rs` states, and the files
//! that a call passes, held against what these files import.

use super::{
    ProjectRule,
    rooms::{place_of, room_of},
    source::{Fault, Source},
    uses::uses,
};

pub const RULES: &[ProjectRule] = &[
    ProjectRule {
        name: "the page states the order and the invariants of src/lib.rs",
        check: other_statements,
        broken: &[
            &[
                ("src/lib.rs", "//! `ids < data`\n//!\n//! 1. One thing\n//!    holds.\n"),
                ("ARCHITECTURE.md", "`ids < nn`\n\n1. One thing holds.\n"),
            ],
            &[
                ("src/lib.rs", "//! `ids < data`\n//!\n//! 1. One thing\n//!    holds.\n"),
                ("ARCHITECTURE.md", "`ids < data`\n\n1. Another thing holds.\n"),
            ],
        ],
    },
    ProjectRule {
        name: "the page lists the ways of Train and Predict",
        check: ways_left_out,
        broken: &[&[("ARCHITECTURE.md", "### `Train`\n\n1. `src/main.rs`: starts.\n")]],
    },
    ProjectRule {
        name: "a listed file exists",
        check: missing_files,
        broken: &[&[("ARCHITECTURE.md", "### `Train`\n\n1. `src/server/gone.rs`: checks.\n")]],
    },
    ProjectRule {
        name: "a listed file uses the next one",
        check: unused_files,
        broken: &[
            &[
                ("ARCHITECTURE.md", "### `Train`\n\n1. `src/engine/mod.rs`: a.\n2. `src/runs/mod.rs`: b.\n"),
                ("src/engine/mod.rs", "//! Engine.\npub use crate::runs::Runs;\n"),
                ("src/runs/mod.rs", "//! Runs.\npub struct Runs;\n"),
            ],
            &[
                (
                    "ARCHITECTURE.md",
                    "### `Train`\n\n1. `src/runs/a.rs`: a.\n2. `src/runs/b.rs` (uses the file before): b.\n",
                ),
                ("src/runs/a.rs", "//! A.\nuse super::b::B;\n"),
                ("src/runs/b.rs", "//! B.\npub struct B;\n"),
            ],
        ],
    },
    ProjectRule {
        name: "a way passes each room once, from right to left",
        check: rooms_passed_again,
        broken: &[&[(
            "ARCHITECTURE.md",
            "### `Train`\n\n1. `src/runs/a.rs`: a.\n2. `src/train/b.rs`: b.\n3. `src/runs/c.rs`: c.\n",
        )]],
    },
];

const PAGE: &str = "ARCHITECTURE.md";

/// Marks a file that continues with what the file before left for it: it reads its queue, or adds to its type.
const USES_BEFORE: &str = "(uses the file before)";

/// A file on the way of a call.
struct ListedFile<'a> {
    /// The call, as the heading names it.
    call: &'a str,
    line: usize,
    path: &'a str,
    uses_before: bool,
}

fn other_statements(sources: &[Source]) -> Vec<(String, Fault)> {
    let find = |path: &str| sources.iter().find(|source| source.path == path);
    let (Some(page), Some(front)) = (find(PAGE), find("src/lib.rs")) else { return Vec::new() };
    let opening = front.text.lines().map_while(|line| line.strip_prefix("//!"));
    let opening = opening.collect::<Vec<_>>().join("\n");
    let differs = |part: fn(&str) -> Option<String>| part(&opening) != part(&page.text);
    let mut faults = Vec::new();
    for (differs, what) in [(differs(order), "order of rooms"), (differs(invariants), "list of invariants")] {
        if differs {
            faults.push((PAGE.to_owned(), Fault::new(1, format!("the {what} is not that of src/lib.rs"))));
        }
    }
    faults
}

/// The order of rooms that a text states, without its line breaks.
fn order(text: &str) -> Option<String> {
    let stated = text.split('`').find(|part| part.starts_with("ids <"))?;
    Some(words(stated))
}

/// The first numbered list of a text, without its line breaks.
fn invariants(text: &str) -> Option<String> {
    let start = text.find("\n1. ").or_else(|| text.find("\n 1. "))?;
    let list = &text[start..];
    Some(words(list.split("\n\n").next().unwrap_or(list)))
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn ways_left_out(sources: &[Source]) -> Vec<(String, Fault)> {
    let calls: Vec<&str> = listed_files(sources).map(|file| file.call).collect();
    let has_page = sources.iter().any(|source| source.path == PAGE);
    let missing = ["Train", "Predict"].into_iter().filter(|call| has_page && !calls.contains(call));
    missing.map(|call| fault(1, format!("list the files that `{call}` passes"))).collect()
}

fn missing_files(sources: &[Source]) -> Vec<(String, Fault)> {
    let exists = |path: &str| sources.iter().any(|source| source.path == path);
    let missing = listed_files(sources).filter(|file| !exists(file.path));
    missing.map(|file| fault(file.line, format!("there is no {}", file.path))).collect()
}

fn unused_files(sources: &[Source]) -> Vec<(String, Fault)> {
    let uses = uses(sources);
    let listed_files: Vec<ListedFile<'_>> = listed_files(sources).collect();
    let mut faults = Vec::new();
    for pair in listed_files.windows(2).filter(|pair| pair[0].call == pair[1].call) {
        let (user, used) = match pair[1].uses_before {
            true => (pair[1].path, pair[0].path),
            false => (pair[0].path, pair[1].path),
        };
        let is_used = uses.get(user).is_none_or(|files| files.contains_key(used) || !uses.contains_key(used));
        if !is_used {
            faults.push(fault(pair[1].line, format!("{user} uses nothing of {used}")));
        }
    }
    faults
}

fn rooms_passed_again(sources: &[Source]) -> Vec<(String, Fault)> {
    let listed_files: Vec<ListedFile<'_>> = listed_files(sources).collect();
    let mut faults = Vec::new();
    for pair in listed_files.windows(2).filter(|pair| pair[0].call == pair[1].call) {
        let rooms = [room_of(pair[0].path), room_of(pair[1].path)];
        if rooms[0] != rooms[1] && rooms[1].and_then(place_of) >= rooms[0].and_then(place_of) {
            faults.push(fault(
                pair[1].line,
                format!("{} does not stand left of the room before", pair[1].path),
            ));
        }
    }
    faults
}

/// The files in the page's numbered lists, each list below a heading with the call's name.
fn listed_files(sources: &[Source]) -> impl Iterator<Item = ListedFile<'_>> {
    let page = sources.iter().filter(|source| source.path == PAGE);
    let mut call = "";
    page.flat_map(|page| page.text.lines().enumerate()).filter_map(move |(index, line)| {
        if line.starts_with('#') {
            call = line.split('`').nth(1).unwrap_or_default();
        }
        let (number, rest) = line.split_once(". `")?;
        let path = rest.split('`').next().filter(|path| path.starts_with("src/"))?;
        let is_listed = number.parse::<u32>().is_ok() && !call.is_empty();
        let uses_before = rest.contains(USES_BEFORE);
        is_listed.then_some(ListedFile { call, line: index + 1, path, uses_before })
    })
}

fn fault(line: usize, message: String) -> (String, Fault) {
    (PAGE.to_owned(), Fault::new(line, message))
}
