//! House rules that a text can show, one fault for each `file:line`. Every rule carries a snippet
//! that breaks it, so that none can be there without working.
//!
//! Lints hold the rest: the length of functions and parameter lists, unsafe code, `todo!` and the
//! like are in `[workspace.lints]` of Cargo.toml and in `.clippy.toml`.

mod circles;
mod client;
mod comments;
mod files;
mod foreign;
mod map;
mod names;
mod rooms;
mod source;
mod style;
mod uses;

use std::collections::BTreeSet;

use source::{Fault, Source};

/// A rule for each file by itself, and the smallest file that breaks it.
struct Rule {
    name: &'static str,
    check: fn(&Source) -> Vec<Fault>,
    /// Path and text of a file that must fail. `{MACHINE}` and `{HOST}` stand for words that no file
    /// of the project may hold, this one included.
    broken: (&'static str, &'static str),
}

/// A rule for all files together, and the fewest and smallest files that break it.
struct ProjectRule {
    name: &'static str,
    /// The faults, each with the path of its file.
    check: fn(&[Source]) -> Vec<(String, Fault)>,
    /// Paths and texts of files that must fail together, and pass as soon as one of them is left out.
    broken: &'static [&'static [(&'static str, &'static str)]],
}

fn rules() -> impl Iterator<Item = &'static Rule> {
    let of_files = [files::RULES, style::RULES, comments::RULES, names::RULES];
    of_files.into_iter().chain([rooms::RULES, foreign::RULES, client::RULES]).flatten()
}

fn project_rules() -> impl Iterator<Item = &'static ProjectRule> {
    [circles::RULES, names::PROJECT_RULES, map::RULES].into_iter().flatten()
}

#[test]
fn every_file_keeps_the_house_rules() {
    let sources = source::tracked();
    assert!(sources.iter().any(|source| source.path == "src/lib.rs"), "the walk found no src/lib.rs");
    assert!(
        sources.iter().any(|source| source.path == "clients/rust/src/lib.rs"),
        "the walk found no client"
    );
    assert!(sources.iter().any(|source| source.path == "Cargo.lock"), "the walk found no Cargo.lock");
    let in_files = sources.iter().flat_map(|source| {
        let ruled = rules().flat_map(|rule| (rule.check)(source));
        let sized = [files::too_large(source), style::too_long(source)].into_iter().flatten();
        ruled.chain(sized).map(|fault| (source.path.clone(), fault))
    });
    let faults = in_files.chain(project_rules().flat_map(|rule| (rule.check)(&sources)));
    let faults = faults.map(|(path, Fault { line, message })| format!("{path}:{line}: {message}"));
    // Several rules may share a check.
    let faults: BTreeSet<String> = faults.collect();
    let listed: Vec<&str> = faults.iter().map(String::as_str).collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), listed.join("\n"));
}

#[test]
fn every_rule_catches_a_file_that_breaks_it() {
    for rule in rules() {
        let (path, text) = rule.broken;
        let text =
            text.replace("{MACHINE}", files::MACHINE_PATHS[0]).replace("{HOST}", files::REGISTRY_HOSTS[0]);
        let broken = Source::new(path, &text);
        assert_ne!((rule.check)(&broken), [], "rule `{}` lets its own counter-example pass", rule.name);
    }
    for rule in project_rules() {
        for files in rule.broken {
            let sources = |left_out: usize| -> Vec<Source> {
                let rest = files.iter().enumerate().filter(|(index, _)| *index != left_out);
                rest.map(|(_, (path, text))| Source::new(path, text)).collect()
            };
            let faults = (rule.check)(&sources(files.len()));
            assert_ne!(faults, [], "rule `{}` lets its own counter-example pass", rule.name);
            for left_out in 0..files.len() {
                let faults = (rule.check)(&sources(left_out));
                assert_eq!(faults, [], "rule `{}` does not need {}", rule.name, files[left_out].0);
            }
        }
    }
}

#[test]
fn a_file_longer_or_larger_than_allowed_is_caught() {
    let long = Source::new("src/ids.rs", &"// A line.\n".repeat(401));
    assert_eq!(style::too_long(&long).len(), 1);
    let large = Source::new("data.bin", &"0".repeat(1_000_001));
    assert_eq!(files::too_large(&large).len(), 1);
}

#[test]
fn words_in_comments_and_strings_are_no_faults() {
    let innocent = r##"//! Never calls `.unwrap()`, `println!` or crate::server.

        /// `tonic::Status` is made in `server`; tch::Tensor is not.
        pub fn name() -> &'static str { r#"println!("{}", x.unwrap()) // use crate::engine; #[ignore]"# }

        #[cfg(test)]
        mod tests {
            use super::*;
            #[test]
            fn tests_may_unwrap() { println!("{}", Some(name()).unwrap()); }
        }
    "##;
    let source = Source::new("src/ids.rs", innocent);
    for rule in rules() {
        assert_eq!((rule.check)(&source), [], "rule `{}` cries wolf", rule.name);
    }
}

#[test]
fn rooms_are_in_the_order_that_the_crate_states() {
    let order = rooms::order();
    assert_eq!(order.first().map(Vec::as_slice), Some(&["ids".to_owned()][..]));
    assert_eq!(order.last().map(Vec::as_slice), Some(&["main".to_owned()][..]));
    assert!(order.contains(&vec!["server".to_owned(), "client".to_owned()]), "{order:?}");
}
