//! No file may need a file that needs it: whoever reads one can begin with those that it uses.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{
    ProjectRule,
    source::{Fault, Source},
    uses::{Uses, uses},
};

pub const RULES: &[ProjectRule] = &[ProjectRule {
    name: "no circle between files",
    check: circles,
    broken: &[
        // Between two files.
        &[
            ("src/data/batch.rs", "//! Batches.\nuse super::split::Split;\npub struct Batch(Split);\n"),
            ("src/data/split.rs", "//! Splits.\npub struct Split;\nfn f(_: super::batch::Batch) {}\n"),
        ],
        // Between a room's front and a file of the room.
        &[
            ("src/nn/mod.rs", "//! Networks.\nmod shape;\nuse shape::Shape;\npub struct Error(Shape);\n"),
            ("src/nn/shape.rs", "//! Shapes.\nuse super::Error;\npub struct Shape;\n"),
        ],
        // Through re-exports.
        &[
            ("clients/rust/src/lib.rs", "//! Client.\nmod a;\nmod b;\npub use {a::A, b::B};\n"),
            ("clients/rust/src/a.rs", "//! A.\nuse crate::B as Other;\npub struct A(Other);\n"),
            ("clients/rust/src/b.rs", "//! B.\npub struct B;\nimpl B { fn f() { crate::A::new(); } }\n"),
        ],
    ],
}];

/// Reports a shortest circle through each file that has one, once for all its files.
fn circles(sources: &[Source]) -> Vec<(String, Fault)> {
    let uses = uses(sources);
    let (mut reported, mut faults) = (BTreeSet::new(), Vec::new());
    for file in uses.keys().copied() {
        if reported.contains(file) {
            continue;
        }
        if let Some(circle) = circle_through(file, &uses) {
            let line = uses[file][circle[0]];
            let way = [&[file], &circle[..]].concat().join(" → ");
            faults.push((file.to_owned(), Fault::new(line, format!("circle {way}: move what both need"))));
            reported.extend(circle);
        }
    }
    faults
}

/// The files after `file` on the shortest way back to it.
fn circle_through<'a>(file: &'a str, uses: &Uses<'a>) -> Option<Vec<&'a str>> {
    let mut before = BTreeMap::new();
    let mut queue = VecDeque::from([file]);
    while let Some(user) = queue.pop_front() {
        for used in uses.get(user)?.keys().copied() {
            if before.contains_key(used) {
                continue;
            }
            before.insert(used, user);
            if used == file {
                let mut way = vec![file];
                while before[way[way.len() - 1]] != file {
                    way.push(before[way[way.len() - 1]]);
                }
                way.reverse();
                return Some(way);
            }
            queue.push_back(used);
        }
    }
    None
}

#[test]
fn paths_that_are_no_use_make_no_circle() {
    let sources = [
        (
            "src/data/mod.rs",
            "//! Data.\nmod batch;\npub mod testing;\npub use batch::Batch;\npub struct Error;\n",
        ),
        (
            "src/data/batch.rs",
            "//! Batches, see super::split::Split.\nuse super::Error;\npub struct Batch;\n\
             #[cfg(test)]\nmod tests { use super::super::split::Split; }\n",
        ),
        ("src/data/split.rs", "//! Splits.\nuse crate::data::Batch;\npub struct Split(Batch);\n"),
        ("src/data/testing.rs", "//! Helpers of tests.\nuse super::Batch;\n"),
    ];
    let sources = sources.map(|(path, text)| Source::new(path, text));
    assert_eq!(circles(&sources), []);
    let used = |file| uses(&sources)[file].keys().copied().collect::<Vec<_>>();
    assert_eq!(used("src/data/split.rs"), ["src/data/batch.rs"]);
    assert_eq!(used("src/data/batch.rs"), ["src/data/mod.rs"]);
}
