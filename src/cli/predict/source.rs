//! Where pictures come from: what the names on the command line mean, and reading one.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    cli::{Error, args::read_image},
    pb::digitd::v1::Image,
};

/// Endings of the files in a folder that are taken for pictures.
const ENDINGS: [&str; 11] = ["png", "jpg", "jpeg", "bmp", "gif", "webp", "pnm", "pbm", "pgm", "ppm", "pam"];

/// A picture that is to be read.
#[derive(Debug)]
pub struct Source {
    /// What the person knows it by.
    pub name: String,
    pub content: Content,
}

#[derive(Debug)]
pub enum Content {
    /// A path, or `-`.
    File(String),
    Image(Image),
    /// A name that leads to no picture.
    Nothing(Unreadable),
}

/// Why there is no picture.
#[derive(Debug, PartialEq, Eq)]
pub struct Unreadable {
    pub message: String,
    pub is_missing: bool,
}

impl Unreadable {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_missing: false }
    }
}

impl Content {
    /// Reads the picture; blocks.
    pub fn read(self) -> Result<Image, Unreadable> {
        match self {
            Self::Image(image) => Ok(image),
            Self::Nothing(problem) => Err(problem),
            Self::File(path) => read_image(&path).map_err(|error| match error {
                Error::Io { source, .. } => {
                    let is_missing = source.kind() == io::ErrorKind::NotFound;
                    Unreadable { message: format!("cannot be read: {source}"), is_missing }
                }
                other => Unreadable::new(other.to_string()),
            }),
        }
    }
}

/// The pictures that a name stands for: a file, `-`, the pictures in a folder, or what a pattern matches.
/// A file whose own name looks like a pattern is that file.
pub fn expand(name: &str) -> Vec<Source> {
    let path = Path::new(name);
    if name == "-" || path.is_file() {
        return vec![file(name.to_owned())];
    }
    if path.is_dir() {
        return in_folder(name);
    }
    if !name.contains(['*', '?', '[']) {
        return vec![file(name.to_owned())];
    }
    let matches = match glob::glob(name) {
        Ok(matches) => matches,
        Err(error) => return nothing(name, format!("is no file, and as a pattern it is wrong: {error}")),
    };
    let found = matches.filter_map(|path| path.map_err(io::Error::from).and_then(only_file).transpose());
    let found: Vec<Source> =
        found.map(|path| path.map_or_else(|error| broken(name, &error), named)).collect();
    if found.is_empty() { nothing(name, "matches no file".to_owned()) } else { found }
}

fn only_file(path: PathBuf) -> io::Result<Option<PathBuf>> {
    Ok(path.is_file().then_some(path))
}

/// The pictures of a folder by name, not those of folders in it.
fn in_folder(name: &str) -> Vec<Source> {
    let is_picture = |path: &Path| {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        path.is_file() && ENDINGS.iter().any(|known| known.eq_ignore_ascii_case(ending))
    };
    let paths = std::fs::read_dir(name)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>());
    let mut paths = match paths {
        Ok(paths) => paths,
        Err(error) => return vec![broken(name, &error)],
    };
    paths.retain(|path| is_picture(path));
    paths.sort_unstable();
    if paths.is_empty() {
        return nothing(name, "is a folder without pictures; of folders in it, name a pattern".to_owned());
    }
    paths.into_iter().map(named).collect()
}

fn named(path: PathBuf) -> Source {
    match path.to_str() {
        Some(name) => file(name.to_owned()),
        None => {
            let problem = Unreadable::new("has a name that is no UTF-8: rename it");
            Source { name: path.display().to_string(), content: Content::Nothing(problem) }
        }
    }
}

fn file(name: String) -> Source {
    Source { content: Content::File(name.clone()), name }
}

fn broken(name: &str, error: &io::Error) -> Source {
    let content = Content::Nothing(Unreadable::new(format!("cannot be read: {error}")));
    Source { name: name.to_owned(), content }
}

fn nothing(name: &str, message: String) -> Vec<Source> {
    let content = Content::Nothing(Unreadable { message, is_missing: true });
    vec![Source { name: name.to_owned(), content }]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(found: &[Source]) -> Vec<&str> {
        found.iter().map(|source| source.name.rsplit('/').next().unwrap()).collect()
    }

    #[test]
    fn folders_and_patterns_stand_for_their_pictures_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        for name in ["b.png", "a.JPG", "notes.txt", "[1].png"] {
            std::fs::write(path(name), "x").unwrap();
        }
        std::fs::create_dir(path("c.png")).unwrap();
        assert_eq!(names(&expand(folder.path().to_str().unwrap())), ["[1].png", "a.JPG", "b.png"]);
        assert_eq!(names(&expand(&path("*.png"))), ["[1].png", "b.png"]);
        assert_eq!(names(&expand(&path("[1].png"))), ["[1].png"]);
        assert_eq!(names(&expand("-")), ["-"]);
    }

    #[test]
    fn names_that_lead_to_nothing_say_why() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let why = |name: &str| expand(name).remove(0).content.read().unwrap_err();
        assert_eq!(why(&path("*.png")).message, "matches no file");
        assert!(why(&path("[")).message.contains("as a pattern"));
        assert!(why(folder.path().to_str().unwrap()).message.contains("without pictures"));
        let missing = why(&path("7.png"));
        assert!(missing.is_missing && missing.message.starts_with("cannot be read"), "{missing:?}");
    }
}
