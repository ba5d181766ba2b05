//! Files that are no picture that can be decoded, by their beginnings, and what to do about each.

/// What a file is, and how to get a picture from it; none if its beginning is not known.
pub fn advice(bytes: &[u8]) -> Option<&'static str> {
    if let Some([b'f', b't', b'y', b'p', brand @ ..]) = bytes.get(4..12) {
        return match brand {
            b"heic" | b"heix" | b"hevc" | b"hevx" | b"heim" | b"heis" | b"mif1" | b"msf1" => Some(HEIC),
            b"avif" | b"avis" => Some("an AVIF picture: convert it to JPEG or PNG first"),
            _ => Some("a video: send a picture of one frame"),
        };
    }
    let text = bytes.trim_ascii_start();
    let begins =
        |with: &str| text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()));
    match bytes {
        [b'I', b'I', b'*', 0, ..] | [b'M', b'M', 0, b'*', ..] => {
            Some("a TIFF picture: convert it to PNG first, for instance with `magick scan.tiff scan.png`")
        }
        [b'%', b'P', b'D', b'F', ..] => {
            Some("a PDF document: convert its page to PNG first, for instance with `pdftoppm -png`")
        }
        _ if begins("version https://git-lfs") => {
            Some("a Git LFS pointer in place of the picture: run `git lfs pull`")
        }
        _ if begins("<svg") => Some("an SVG drawing: convert it to PNG first"),
        _ if begins("<!doctype html") || begins("<html") => {
            Some("an HTML page: download the picture itself, not the page that shows it")
        }
        _ => None,
    }
}

const HEIC: &str = "a HEIC picture: convert it to JPEG first, for instance with `heif-convert a.heic a.jpg` or \
    `magick a.heic a.jpg`, or let the telephone take \"most compatible\" pictures";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expected: Option<&str>) {
        let found = advice(bytes);
        assert_eq!(found.map(|found| found.split(':').next().unwrap()), expected);
    }

    #[test]
    fn files_that_telephones_and_downloads_leave_are_named() {
        check(b"\0\0\0\x18ftypheic\0\0\0\0", Some("a HEIC picture"));
        check(b"\0\0\0\x18ftypmif1\0\0\0\0", Some("a HEIC picture"));
        check(b"\0\0\0\x18ftypavif\0\0\0\0", Some("an AVIF picture"));
        check(b"II*\0\x08\0\0\0", Some("a TIFF picture"));
        check(b"MM\0*\0\0\0\x08", Some("a TIFF picture"));
        check(b"\n<!DOCTYPE html><html>", Some("an HTML page"));
        check(
            b"version https://git-lfs.github.com/spec/v1\n",
            Some("a Git LFS pointer in place of the picture"),
        );
        check(b"%PDF-1.7", Some("a PDF document"));
        check(b"7", None);
        check(b"", None);
    }
}
