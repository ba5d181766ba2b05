//! Sources of images: the files that the names on the command line stand for, and reading one.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
};

use crate::{
    cli::{error::Error, input::read_image},
    pb::digitd::v1::Image,
};

/// Extensions of the files in a folder that are images.
const EXTENSIONS: [&str; 11] =
    ["png", "jpg", "jpeg", "bmp", "gif", "webp", "pnm", "pbm", "pgm", "ppm", "pam"];

/// Extensions of pictures that no server decodes, and how to convert them.
const NOT_DECODED: [(&str, &str); 6] = [
    ("heic", HEIC),
    ("heif", HEIC),
    ("hif", HEIC),
    ("avif", "is an AVIF picture: convert it to JPEG or PNG first"),
    ("tif", TIFF),
    ("tiff", TIFF),
];
const HEIC: &str =
    "is a HEIC picture: convert it to JPEG first, for instance with `heif-convert` or `magick`";
const TIFF: &str = "is a TIFF picture: convert it to PNG first, for instance with `magick`";

/// What systems leave beside images: thumbnails, settings of a folder, and the folders that network drives add.
const JUNK: [&str; 6] = ["thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "#recycle", "__macosx"];

/// An image to read.
#[derive(Debug)]
pub struct ImageSource {
    /// The name that it is reported by.
    pub name: String,
    pub content: ImageContent,
}

#[derive(Debug)]
pub enum ImageContent {
    /// A path, or `-`.
    File(String),
    Image(Image),
    /// A name that stands for no image.
    Missing(ReadError),
}

/// The reason why there is no image.
#[derive(Debug, PartialEq, Eq)]
pub struct ReadError {
    pub message: String,
    pub is_missing: bool,
}

impl ReadError {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_missing: false }
    }
}

impl ImageContent {
    /// Reads the image; blocks.
    pub fn read(self) -> Result<Image, ReadError> {
        match self {
            Self::Image(image) => Ok(image),
            Self::Missing(error) => Err(error),
            Self::File(path) => read_image(&path).map_err(|error| match error {
                Error::Io { source, .. } => {
                    let is_missing = source.kind() == io::ErrorKind::NotFound;
                    ReadError { message: format!("cannot be read: {source}"), is_missing }
                }
                other => ReadError::new(other.to_string()),
            }),
        }
    }
}

/// The images that a name stands for: a file, `-`, the images in a folder, or the matches of a pattern. The
/// name of an existing file is that file even where it looks like a pattern.
pub fn expand(name: &str) -> Vec<ImageSource> {
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
        Err(error) => return missing(name, format!("is not a file, and not a valid pattern: {error}")),
    };
    let found = matches.filter_map(|path| path.map_err(io::Error::from).and_then(only_file).transpose());
    let found: Vec<ImageSource> =
        found.map(|path| path.map_or_else(|error| broken(name, &error), named)).collect();
    if found.is_empty() { missing(name, "matches no file".to_owned()) } else { found }
}

fn only_file(path: PathBuf) -> io::Result<Option<PathBuf>> {
    Ok((path.is_file() && !is_junk(&path)).then_some(path))
}

/// Whether a path is hidden or what a system left, or lies in a folder that it left. `._a.jpg` is not a picture but
/// what macOS notes about `a.jpg`.
fn is_junk(path: &Path) -> bool {
    let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let is_left = |name: &OsStr| JUNK.iter().any(|junk| name.eq_ignore_ascii_case(junk));
    is_hidden || path.iter().any(is_left)
}

/// How to convert a picture that no server decodes; none for other files.
fn advice(path: &Path) -> Option<&'static str> {
    let extension = path.extension()?.to_str()?;
    NOT_DECODED.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(extension)).map(|(_, advice)| advice)
}

/// The images in a folder by name, without those in folders of it.
fn in_folder(name: &str) -> Vec<ImageSource> {
    let is_image = |path: &Path| {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let is_known = EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension));
        path.is_file() && !is_junk(path) && (is_known || advice(path).is_some())
    };
    let paths = std::fs::read_dir(name)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>());
    let mut paths = match paths {
        Ok(paths) => paths,
        Err(error) => return vec![broken(name, &error)],
    };
    paths.retain(|path| is_image(path));
    paths.sort_unstable();
    if paths.is_empty() {
        return missing(
            name,
            "is a folder without images; for images in its folders, give a pattern".to_owned(),
        );
    }
    paths.into_iter().map(named).collect()
}

fn named(path: PathBuf) -> ImageSource {
    match (path.to_str(), advice(&path)) {
        (Some(name), None) => file(name.to_owned()),
        (Some(name), Some(advice)) => {
            ImageSource { name: name.to_owned(), content: ImageContent::Missing(ReadError::new(advice)) }
        }
        (None, _) => {
            let error = ReadError::new("has a name that is not UTF-8: rename it");
            ImageSource { name: path.display().to_string(), content: ImageContent::Missing(error) }
        }
    }
}

fn file(name: String) -> ImageSource {
    ImageSource { content: ImageContent::File(name.clone()), name }
}

fn broken(name: &str, error: &io::Error) -> ImageSource {
    let content = ImageContent::Missing(ReadError::new(format!("cannot be read: {error}")));
    ImageSource { name: name.to_owned(), content }
}

fn missing(name: &str, message: String) -> Vec<ImageSource> {
    let content = ImageContent::Missing(ReadError { message, is_missing: true });
    vec![ImageSource { name: name.to_owned(), content }]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(found: &[ImageSource]) -> Vec<&str> {
        found.iter().map(|source| source.name.rsplit('/').next().unwrap()).collect()
    }

    #[test]
    fn folders_and_patterns_expand_to_their_images_in_order() {
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
    fn what_systems_leave_in_a_folder_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::create_dir(path("@eaDir")).unwrap();
        for name in ["a.jpg", "._a.jpg", ".b.png", "Thumbs.db", ".DS_Store", "desktop.ini", "@eaDir/c.jpg"] {
            std::fs::write(path(name), "x").unwrap();
        }
        assert_eq!(names(&expand(folder.path().to_str().unwrap())), ["a.jpg"]);
        assert_eq!(names(&expand(&path("**/*.jpg"))), ["a.jpg"]);
        // A file that is named is read whatever its name is.
        assert_eq!(names(&expand(&path("._a.jpg"))), ["._a.jpg"]);
    }

    #[test]
    fn pictures_that_no_server_decodes_are_named_with_the_way_to_convert_them() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["IMG_1.HEIC", "b.png", "scan.tiff"] {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        let found = expand(folder.path().to_str().unwrap());
        assert_eq!(names(&found), ["IMG_1.HEIC", "b.png", "scan.tiff"]);
        let why: Vec<_> =
            found.into_iter().map(|it| it.content.read().err().map(|error| error.message)).collect();
        assert!(why[0].as_ref().unwrap().starts_with("is a HEIC picture: convert it to JPEG"));
        assert!(why[1].is_none() && why[2].as_ref().unwrap().starts_with("is a TIFF picture"));
    }

    #[test]
    fn a_name_without_an_image_has_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let why = |name: &str| expand(name).remove(0).content.read().unwrap_err();
        assert_eq!(why(&path("*.png")).message, "matches no file");
        assert!(why(&path("[")).message.contains("not a valid pattern"));
        assert!(why(folder.path().to_str().unwrap()).message.contains("without images"));
        let missing = why(&path("7.png"));
        assert!(missing.is_missing && missing.message.starts_with("cannot be read"), "{missing:?}");
    }
}
