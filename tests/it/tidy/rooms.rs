//! The order of the rooms: a room uses only rooms to its left. The order itself is read from
//! `src/lib.rs`, where people read it.

use std::sync::LazyLock;

use super::Rule;
use super::source::{Fault, Source, Token};

pub const RULES: &[Rule] = &[
    Rule {
        name: "a room uses only rooms to its left",
        check: used_from_the_right,
        broken: ("src/data/split.rs", "//! Splits.\nuse crate::{ids::DatasetName, train::Trainer};\n"),
    },
    Rule {
        name: "rooms are named from the crate down",
        check: climbing_path,
        broken: ("src/data/split.rs", "//! Splits.\nuse super::super::train::Trainer;\n"),
    },
    Rule {
        name: "every room has its place",
        check: room_without_place,
        broken: ("src/util/mod.rs", "//! Odds and ends.\n"),
    },
];

/// The rooms from left to right; those of one place may not use each other.
pub fn order() -> &'static [Vec<String>] {
    static ORDER: LazyLock<Vec<Vec<String>>> = LazyLock::new(|| {
        let opening = include_str!("../../../src/lib.rs").lines().map_while(|line| line.strip_prefix("//!"));
        let opening = opening.collect::<String>();
        let list = opening.split('`').find(|text| text.starts_with("ids <"));
        let places = list.expect("src/lib.rs states the order as `ids < … < main`").split('<');
        places.map(|place| place.split(',').map(|room| room.trim().to_owned()).collect()).collect()
    });
    &ORDER
}

/// How far to the right a room stands; None for a name that is no room.
pub fn place_of(room: &str) -> Option<usize> {
    order().iter().position(|place| place.iter().any(|name| name == room))
}

/// Where the room `client` is: a crate of its own, whose modules are no rooms.
const CLIENT: &str = "clients/rust/src/";

/// The room that a file belongs to: `data` for src/data/split.rs, `ids` for src/ids.rs, `client` for every
/// file of the client's crate.
pub fn room_of(path: &str) -> Option<&str> {
    if path.starts_with(CLIENT) {
        return Some("client");
    }
    let below = path.strip_prefix("src/").filter(|below| below.ends_with(".rs") && *below != "lib.rs")?;
    Some(below.split_once('/').map_or_else(|| below.trim_end_matches(".rs"), |(room, _)| room))
}

fn used_from_the_right(source: &Source) -> Vec<Fault> {
    if source.path.starts_with(CLIENT) {
        return Vec::new();
    }
    let Some((room, place)) = room_of(&source.path).and_then(|room| Some((room, place_of(room)?))) else {
        return Vec::new();
    };
    let mut faults = Vec::new();
    for used in rooms_used(&source.tokens) {
        let name = used.text.as_str();
        match place_of(name) {
            _ if name == room => {}
            Some(other) if other < place => {}
            Some(_) => faults.push(Fault::new(
                used.line,
                format!("`{room}` may not use `{name}`, which is not to its left"),
            )),
            None => faults.push(Fault::new(
                used.line,
                format!("`crate::{name}` is no room; name the room it lives in"),
            )),
        }
    }
    faults
}

/// What follows `crate::`, and each first name in `crate::{…}`.
fn rooms_used(tokens: &[Token]) -> Vec<&Token> {
    let mut used = Vec::new();
    for (index, pair) in tokens.windows(2).enumerate() {
        if pair[0].text != "crate" || pair[1].text != "::" {
            continue;
        }
        let rest = &tokens[index + 2..];
        match rest.first() {
            Some(open) if open.text == "{" => used.extend(first_names(rest)),
            Some(name) => used.push(name),
            None => {}
        }
    }
    used
}

/// The names that stand first in a group of paths: `a` and `c` of `{a::b, c::{d, e}}`.
fn first_names(group: &[Token]) -> Vec<&Token> {
    let mut depth = 0;
    let mut names = Vec::new();
    for (index, token) in group.iter().enumerate() {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" if depth == 1 => break,
            "}" => depth -= 1,
            _ if depth == 1 && ["{", ","].contains(&group[index - 1].text.as_str()) => names.push(token),
            _ => {}
        }
    }
    names
}

/// `super` may not climb out of a room: such a path hides which room it uses.
fn climbing_path(source: &Source) -> Vec<Fault> {
    let Some(room) = room_of(&source.path) else { return Vec::new() };
    let is_front = source.path == format!("src/{room}.rs") || source.path == format!("src/{room}/mod.rs");
    let twice = source.find(&["super", "::", "super"]);
    let from_front = source.find(&["super", "::"]).filter(|path| is_front && path[0].modules == 0);
    twice.chain(from_front).map(|path| Fault::new(path[0].line, "write `crate::` and the room")).collect()
}

fn room_without_place(source: &Source) -> Vec<Fault> {
    match room_of(&source.path) {
        Some(room) if place_of(room).is_none() => {
            vec![Fault::new(1, format!("`{room}` has no place in the order that src/lib.rs states"))]
        }
        _ => Vec::new(),
    }
}
