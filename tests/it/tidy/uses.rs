//! Which file uses which: paths are followed through modules, imports and re-exports to the file that
//! defines the item. A module declaration and a re-export are no uses, and tests do not count.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Source, Token};

/// The roots of the crates whose files are held apart.
const CRATES: [&str; 2] = ["src/", "clients/rust/src/"];

/// The files that each file uses, with the line of the first use.
pub type Uses<'a> = BTreeMap<&'a str, BTreeMap<&'a str, usize>>;

/// A module's place: the crate's root, and the modules below it.
type Module = Vec<String>;

/// A path as it is written, without an item's own name for `use a::{self}`.
struct Path {
    segments: Vec<String>,
    /// The name by which an import is known; `*` for all of a module.
    alias: String,
    line: usize,
    /// How many modules with a body stand around it: so many steps of `super` stay in the file.
    inside: usize,
}

/// A file as others see it.
struct File<'a> {
    path: &'a str,
    /// Names defined at the top, and modules with a body.
    items: BTreeSet<String>,
    imports: Vec<Path>,
    /// Names that are imported for others, unless the file uses them too.
    reexports: BTreeSet<String>,
    /// Paths outside of imports.
    paths: Vec<Path>,
}

/// What every file uses. `main.rs` is a crate of its own and uses the library's front alone.
pub fn uses(sources: &[Source]) -> Uses<'_> {
    let files: BTreeMap<Module, File<'_>> =
        sources.iter().filter_map(|source| Some((module_of(&source.path)?, File::of(source)))).collect();
    let mut uses = Uses::new();
    for (module, file) in &files {
        let imports = file.imports.iter().filter(|import| !file.reexports.contains(&import.alias));
        let mut used = BTreeMap::new();
        for path in imports.chain(&file.paths) {
            let Some(place) = resolve(&files, module, path, 0) else { continue };
            if place != file.path {
                used.entry(place).or_insert(path.line);
            }
        }
        uses.insert(file.path, used);
    }
    uses
}

/// The module that a file is; none for tests, and for what is no file of the crates.
fn module_of(path: &str) -> Option<Module> {
    let root = CRATES.iter().find(|root| path.starts_with(**root))?;
    let below = path.strip_prefix(root)?.strip_suffix(".rs")?;
    let mut module = vec![(*root).to_owned()];
    module.extend(below.split('/').map(str::to_owned));
    if below == "main" || module.iter().any(|name| name == "tests" || name == "testing") {
        return None;
    }
    if ["mod", "lib"].contains(&module.last()?.as_str()) {
        module.pop();
    }
    Some(module)
}

/// The file that defines what a path names, seen from a module; none for what other crates define.
fn resolve<'a>(
    files: &BTreeMap<Module, File<'a>>,
    from: &Module,
    path: &Path,
    depth: usize,
) -> Option<&'a str> {
    let (mut module, rest) = start(files, from, path)?;
    for (index, name) in rest.iter().enumerate() {
        module.push(name.clone());
        if files.contains_key(&module) {
            continue;
        }
        module.pop();
        let file = files.get(&module)?;
        let import = file.imports.iter().find(|import| import.alias == *name);
        return match import {
            // A path continues through a module; at its end an item of the same name comes first.
            Some(import) if depth < 12 && (index + 1 < rest.len() || !file.items.contains(name)) => {
                let segments = import.segments.iter().chain(&rest[index + 1..]).cloned().collect();
                let followed = Path { segments, alias: String::new(), ..*import };
                resolve(files, &module, &followed, depth + 1)
            }
            _ => Some(file.path),
        };
    }
    files.get(&module).map(|file| file.path)
}

/// The module at which a path starts, and the names that it continues with.
fn start<'p>(
    files: &BTreeMap<Module, File<'_>>,
    from: &Module,
    path: &'p Path,
) -> Option<(Module, &'p [String])> {
    let rest = &path.segments;
    let first = rest.first()?.as_str();
    let climbs = rest.iter().take_while(|name| *name == "super").count();
    match first {
        "crate" => Some((from[..1].to_vec(), &rest[1..])),
        "self" => Some((from.clone(), &rest[1..])),
        "super" => {
            let left = from.len().checked_sub(climbs.saturating_sub(path.inside)).filter(|left| *left > 0)?;
            Some((from[..left].to_vec(), &rest[climbs..]))
        }
        _ => {
            let mut child = from.clone();
            child.push(first.to_owned());
            let file = files.get(from)?;
            // An import that begins with its own name, as `use tch::{self}`, comes from another crate.
            let imported = |import: &&Path| import.alias == first && import.segments[0] != first;
            let is_known = files.contains_key(&child) || file.imports.iter().any(|import| imported(&import));
            is_known.then(|| (from.clone(), &rest[..]))
        }
    }
}

impl<'a> File<'a> {
    fn of(source: &'a Source) -> Self {
        const DEFINING: [&str; 8] = ["struct", "enum", "trait", "type", "fn", "const", "static", "union"];
        let tokens: Vec<&Token> = source.tokens.iter().filter(|token| !token.test).collect();
        let text = |index: usize| tokens.get(index).map_or("", |token| token.text.as_str());
        let mut file = Self {
            path: &source.path,
            items: BTreeSet::new(),
            imports: Vec::new(),
            reexports: BTreeSet::new(),
            paths: Vec::new(),
        };
        let (mut depth, mut index, mut words) = (0, 0, BTreeSet::new());
        while index < tokens.len() {
            let token = tokens[index];
            match text(index) {
                "{" => depth += 1,
                "}" => depth -= 1,
                "use" if text(index + 1) != "<" => {
                    let end = index + tokens[index..].iter().take_while(|token| token.text != ";").count();
                    let before = file.imports.len();
                    import(&tokens[index + 1..end], &[], &mut file.imports);
                    if ["pub", ")"].contains(&text(index.wrapping_sub(1))) {
                        file.reexports.extend(file.imports[before..].iter().map(|path| path.alias.clone()));
                    }
                    index = end;
                }
                "mod" if text(index + 2) == "{" => drop(file.items.insert(text(index + 1).to_owned())),
                "macro_rules" => drop(file.items.insert(text(index + 2).to_owned())),
                word if DEFINING.contains(&word) && depth == token.modules => {
                    let name = if text(index + 1) == "fn" { index + 2 } else { index + 1 };
                    file.items.insert(text(name).to_owned());
                }
                word if leads_a_path(text(index.wrapping_sub(1)), word) => {
                    let mut segments = vec![word.to_owned()];
                    while text(index + 1) == "::" && is_word(text(index + 2)) {
                        segments.push(text(index + 2).to_owned());
                        index += 2;
                    }
                    words.insert(segments[0].clone());
                    if segments.len() > 1 {
                        let (alias, line) = (String::new(), token.line);
                        file.paths.push(Path { segments, alias, line, inside: token.modules });
                    }
                }
                _ => {}
            }
            index += 1;
        }
        file.reexports.retain(|name| !words.contains(name));
        file
    }
}

/// Adds the imports of `use a::{b as c, d::*};`, of which the tokens stand between `use` and the semicolon.
fn import(tokens: &[&Token], before: &[String], imports: &mut Vec<Path>) {
    let mut segments = before.to_vec();
    let mut alias = None;
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        match token.text.as_str() {
            "{" => {
                for part in parts(&tokens[index + 1..]) {
                    import(part, &segments, imports);
                }
                return;
            }
            "as" => {
                alias = tokens.get(index + 1).map(|token| token.text.clone());
                break;
            }
            "self" if !segments.is_empty() => {}
            "::" => {}
            word => segments.push(word.to_owned()),
        }
        index += 1;
    }
    let (Some(first), Some(last)) = (tokens.first(), segments.last().cloned()) else { return };
    if last == "*" {
        segments.pop();
    }
    let alias = alias.unwrap_or(last);
    imports.push(Path { segments, alias, line: first.line, inside: first.modules });
}

/// The parts of a group, up to the bracket that closes it.
fn parts<'t, 's>(tokens: &'s [&'t Token]) -> Vec<&'s [&'t Token]> {
    let (mut depth, mut from, mut parts) = (0, 0, Vec::new());
    for (index, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" if depth == 0 => {
                parts.push(&tokens[from..index]);
                break;
            }
            "}" => depth -= 1,
            "," if depth == 0 => {
                parts.push(&tokens[from..index]);
                from = index + 1;
            }
            _ => {}
        }
    }
    parts
}

fn leads_a_path(before: &str, word: &str) -> bool {
    is_word(word) && ![".", "::", "mod", "fn"].contains(&before)
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}
