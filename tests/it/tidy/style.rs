//! Rules for one Rust file by itself: its opening, its length, and calls that have no place in it.

use super::Rule;
use super::source::{Fault, Source, Token};

pub const RULES: &[Rule] = &[
    Rule { name: "opens with //!", check: no_opening, broken: ("src/ids.rs", "use std::fmt;\n") },
    Rule {
        name: "no unwrap outside tests",
        check: unwrap,
        broken: ("src/ids.rs", "//! Ids.\nfn f() { let _ = \"7\".parse::<u8>().unwrap(); }\n"),
    },
    Rule {
        name: "no #[ignore]",
        check: ignored_test,
        broken: ("tests/it/run.rs", "//! Runs.\n#[test]\n#[ignore = \"slow\"]\nfn a_run_ends() {}\n"),
    },
    Rule {
        name: "no sleep in a test",
        check: waiting_blindly,
        broken: ("tests/it/run.rs", "//! Runs.\nasync fn wait() { tokio::time::sleep(SECOND).await; }\n"),
    },
    Rule {
        name: "tests are sentences",
        check: prefixed_test,
        broken: (
            "src/ids.rs",
            "//! Ids.\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn test_parse() {}\n}\n",
        ),
    },
    Rule {
        name: "limits are kept, not allowed away",
        check: limit_allowed,
        broken: ("src/ids.rs", "//! Ids.\n#[allow(clippy::too_many_lines, reason = \"long\")]\nfn f() {}\n"),
    },
];

const LONGEST: usize = 400;

/// Where the code lies that runs at users'.
const SHIPPED: [&str; 2] = ["src/", "clients/rust/src/"];

/// Tests that may sleep, each with the reason why no event can be waited for instead.
const SLEEPERS: [(&str, &str); 0] = [];

fn no_opening(source: &Source) -> Vec<Fault> {
    if !source.is_rust() || source.text.starts_with("//!") {
        return Vec::new();
    }
    vec![Fault::new(1, "open with `//!`: what lives here, and what does not")]
}

pub fn too_long(source: &Source) -> Vec<Fault> {
    let lines = source.text.lines().count();
    if !source.is_rust() || lines <= LONGEST {
        return Vec::new();
    }
    vec![Fault::new(lines, format!("{lines} lines; split it, {LONGEST} is the limit"))]
}

fn unwrap(source: &Source) -> Vec<Fault> {
    if !SHIPPED.iter().any(|folder| source.path.starts_with(folder)) {
        return Vec::new();
    }
    let calls = source.find(&[".", "unwrap", "(", ")"]).filter(|call| !call[0].test);
    faults(calls, "return the error, or `expect(\"…\")` with the invariant that rules it out")
}

fn ignored_test(source: &Source) -> Vec<Fault> {
    faults(source.find(&["#", "[", "ignore"]), "a test that does not run tells nothing: mend or delete it")
}

fn waiting_blindly(source: &Source) -> Vec<Fault> {
    if SLEEPERS.iter().any(|(path, _)| *path == source.path) {
        return Vec::new();
    }
    let calls = ["sleep", "sleep_until", "sleep_ms"];
    let words =
        source.tokens.windows(1).filter(|word| word[0].test && calls.contains(&word[0].text.as_str()));
    faults(words, "wait for the event itself, or pause the clock")
}

fn prefixed_test(source: &Source) -> Vec<Fault> {
    let functions =
        source.find(&["fn", "*"]).filter(|pair| pair[0].test && pair[1].text.starts_with("test_"));
    faults(functions, "name what holds, as a sentence without `test_`")
}

fn limit_allowed(source: &Source) -> Vec<Fault> {
    let limits = ["too_many_lines", "too_many_arguments"];
    let named = source.find(&["clippy", "::", "*"]).filter(|path| limits.contains(&path[2].text.as_str()));
    faults(named, "split the function instead")
}

fn faults<'a>(places: impl Iterator<Item = &'a [Token]>, message: &str) -> Vec<Fault> {
    places.map(|tokens| Fault::new(tokens[0].line, message)).collect()
}
