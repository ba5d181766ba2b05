//! Rules for comments: whole sentences, which a text can show by their beginnings and ends.

use super::Rule;
use super::source::{Fault, Source};

pub const RULES: &[Rule] = &[
    Rule {
        name: "a comment does not begin with Of",
        check: begins_with_of,
        broken: ("src/ids.rs", "//! Ids.\n\n/// Of each class.\nconst NAMES: u8 = 0;\n"),
    },
    Rule {
        name: "a comment's first paragraph ends as a sentence does",
        check: open_end,
        broken: ("src/ids.rs", "//! Ids.\n\n/// Names one class\n///\n/// Another paragraph.\nstruct Id;\n"),
    },
];

/// A comment from its first line to its last.
struct Comment<'a> {
    /// Where it begins, counted from 1.
    line: usize,
    is_doc: bool,
    /// The lines without their marks, up to the first that is empty.
    paragraph: Vec<&'a str>,
}

fn begins_with_of(source: &Source) -> Vec<Fault> {
    let comments = comments(source).into_iter();
    let found =
        comments.filter(|comment| comment.paragraph.first().is_some_and(|line| line.starts_with("Of ")));
    found
        .map(|comment| Fault::new(comment.line, "say it with a subject and a verb, or name the thing"))
        .collect()
}

/// Help texts are comments too, and end without a full stop, as clap has them.
fn open_end(source: &Source) -> Vec<Fault> {
    if source.find(&["clap"]).next().is_some() {
        return Vec::new();
    }
    let open = comments(source).into_iter().filter(|comment| {
        let last = comment.paragraph.last();
        comment.is_doc && last.is_some_and(|line| !line.ends_with(['.', ':', '?', '!']))
    });
    open.map(|comment| Fault::new(comment.line, "end the first paragraph as a sentence ends")).collect()
}

fn comments(source: &Source) -> Vec<Comment<'_>> {
    let mut comments: Vec<Comment<'_>> = Vec::new();
    if !source.is_rust() {
        return comments;
    }
    // The mark of the line before, and whether the comment's first paragraph is still open.
    let (mut before, mut open) = ("", false);
    for (index, line) in source.text.lines().map(str::trim).enumerate() {
        let mark = ["///", "//!", "//"].into_iter().find(|mark| line.starts_with(mark)).unwrap_or_default();
        let text = line.trim_start_matches(mark).trim();
        if !mark.is_empty() && mark != before {
            comments.push(Comment { line: index + 1, is_doc: mark != "//", paragraph: Vec::new() });
            open = true;
        }
        open &= !mark.is_empty() && !text.is_empty();
        if let Some(comment) = comments.last_mut().filter(|_| open) {
            comment.paragraph.push(text);
        }
        before = mark;
    }
    comments
}
