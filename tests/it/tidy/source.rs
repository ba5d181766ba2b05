//! The project's files as the rules see them: text, and for Rust the tokens without comments and
//! strings. Holds no rule.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A broken rule at a line, counted from 1.
#[derive(Debug, PartialEq)]
pub struct Fault {
    pub line: usize,
    pub message: String,
}

impl Fault {
    pub fn new(line: usize, message: impl Into<String>) -> Fault {
        Fault { line, message: message.into() }
    }
}

/// One file of the project.
pub struct Source {
    /// Relative to the root, with `/`.
    pub path: String,
    pub bytes: usize,
    /// Empty where the file is not text.
    pub text: String,
    /// Empty where the file is not Rust.
    pub tokens: Vec<Token>,
}

/// A word, a mark or a bracket. Literals are there as the word `"literal"`, comments are not.
pub struct Token {
    pub text: String,
    pub line: usize,
    /// Inside `#[cfg(test)]`, or in a file that is all tests.
    pub test: bool,
    /// How many modules with a body of their own stand around it in this file.
    pub modules: usize,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Source {
        let mut tokens = Vec::new();
        if path.ends_with(".rs") {
            let stream: TokenStream = text.parse().unwrap_or_else(|error| panic!("{path}: {error}"));
            let test = path.starts_with("tests/") || path.ends_with("/tests.rs") || path.contains("/tests/");
            flatten(stream, Context { test, modules: 0 }, &mut tokens);
        }
        Source { path: path.to_owned(), bytes: text.len(), text: text.to_owned(), tokens }
    }

    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Every place where these tokens follow one another; `*` stands for any one token.
    pub fn find<'a>(&'a self, pattern: &'a [&str]) -> impl Iterator<Item = &'a [Token]> {
        self.tokens.windows(pattern.len()).filter(move |window| {
            window.iter().zip(pattern).all(|(token, wanted)| *wanted == "*" || token.text == *wanted)
        })
    }
}

#[derive(Clone, Copy)]
struct Context {
    test: bool,
    modules: usize,
}

fn flatten(stream: TokenStream, context: Context, tokens: &mut Vec<Token>) {
    // The tokens of an item that is only for tests, from its attribute to its body.
    let mut in_test_item = false;
    let mut trees = stream.into_iter().peekable();
    while let Some(tree) = trees.next() {
        let here = Context { test: context.test || in_test_item, ..context };
        let line = tree.span().start().line;
        let mut push =
            |text: String, line| tokens.push(Token { text, line, test: here.test, modules: here.modules });
        match tree {
            TokenTree::Ident(word) => push(word.to_string(), line),
            TokenTree::Literal(_) => push("\"literal\"".to_owned(), line),
            TokenTree::Punct(mark) if mark.as_char() == ':' && is_colon(trees.peek()) => {
                trees.next();
                push("::".to_owned(), line);
            }
            TokenTree::Punct(mark) => {
                in_test_item &= mark.as_char() != ';';
                push(mark.to_string(), line);
            }
            TokenTree::Group(group) => {
                let (open, close) = brackets(group.delimiter());
                let is_body = group.delimiter() == Delimiter::Brace;
                let is_attribute = tokens.last().is_some_and(|token| token.text == "#");
                in_test_item |= is_attribute && is_cfg_test(&group.stream());
                let opens_module = is_body && tokens.len() > 1 && tokens[tokens.len() - 2].text == "mod";
                let inside = Context { modules: here.modules + usize::from(opens_module), ..here };
                tokens.push(Token { text: open.to_owned(), line, test: here.test, modules: here.modules });
                flatten(group.stream(), inside, tokens);
                let line = group.span_close().start().line;
                tokens.push(Token { text: close.to_owned(), line, test: here.test, modules: here.modules });
                in_test_item &= !is_body;
            }
        }
    }
}

fn is_colon(tree: Option<&TokenTree>) -> bool {
    matches!(tree, Some(TokenTree::Punct(mark)) if mark.as_char() == ':')
}

fn is_cfg_test(attribute: &TokenStream) -> bool {
    let attribute = attribute.to_string().replace(" ", "");
    attribute == "cfg(test)" || attribute.starts_with("cfg(all(test,")
}

fn brackets(delimiter: Delimiter) -> (&'static str, &'static str) {
    match delimiter {
        Delimiter::Parenthesis => ("(", ")"),
        Delimiter::Brace => ("{", "}"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::None => ("", ""),
    }
}

/// Every file that git tracks; without git or a checkout, every file that is not built or fetched.
pub fn tracked() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let paths = listed_by_git(root).unwrap_or_else(|| walked(root, Path::new("")));
    paths.iter().filter_map(|path| read(root, path)).collect()
}

fn listed_by_git(root: &Path) -> Option<Vec<PathBuf>> {
    if !root.join(".git").exists() {
        return None;
    }
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(root).output().ok()?;
    let listing = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    Some(listing.split_terminator('\0').map(PathBuf::from).collect())
}

fn walked(root: &Path, folder: &Path) -> Vec<PathBuf> {
    const SKIPPED: [&str; 8] = [".git", ".tools", "target", "node_modules", "data", "store", "runs", "dist"];
    let mut paths = Vec::new();
    for entry in fs::read_dir(root.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = folder.join(&name);
        // `data`, `store` and `runs` are ignored at the root alone: src/data is a room.
        let skipped = SKIPPED.contains(&name.as_str()) && (folder == Path::new("") || name == "node_modules");
        if skipped || name.starts_with(".libtorch") {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            paths.extend(walked(root, &path));
        } else {
            paths.push(path);
        }
    }
    paths
}

/// None for a file that git still lists but that is gone.
fn read(root: &Path, path: &Path) -> Option<Source> {
    let bytes = fs::read(root.join(path)).ok()?;
    let path = path.to_str().expect("file names of the project are UTF-8");
    Some(match String::from_utf8(bytes) {
        Ok(text) => Source::new(path, &text),
        Err(error) => Source {
            path: path.to_owned(),
            bytes: error.as_bytes().len(),
            text: String::new(),
            tokens: Vec::new(),
        },
    })
}
