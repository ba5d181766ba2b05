//! Reading IDX files: every size is checked against the file before memory is allocated.

use std::{
    fs::{self, File},
    io::{self, BufReader, Read, Seek},
    path::{Path, PathBuf},
};

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};

use super::{FormatError, IMAGES_MAGIC, LABELS_MAGIC, MAX_CONTENT, write::header};
use crate::data::{
    Error, ImageSet,
    dataset::hex,
    dims::{Dims, MAX_SIDE},
};

/// Deflate cannot compress more than 1032 to 1, so a small file that promises more is broken.
pub(super) const MAX_GZIP_RATIO: u64 = 1032;

/// The content of a file of images.
#[derive(Debug)]
pub struct Images {
    pub count: usize,
    pub height: usize,
    pub width: usize,
    /// [count, height, width].
    pub pixels: Vec<u8>,
    /// SHA-256 of the unpacked file in hexadecimal.
    pub sha256: String,
}

/// The content of a file of labels.
#[derive(Debug)]
pub struct Labels {
    pub labels: Vec<u8>,
    /// SHA-256 of the unpacked file in hexadecimal.
    pub sha256: String,
}

/// Reads a file of images. Errors name the file and the offset at which it is broken.
pub fn read_images(path: &Path) -> Result<Images, Error> {
    let mut source = IdxReader::open(path)?;
    let [magic, count, height, width] = source.header::<4>(IMAGES_MAGIC)?;
    let sides = 1..=MAX_SIDE as u64;
    if !sides.contains(&height) || !sides.contains(&width) {
        return Err(source.broken(FormatError::ImageSize { height, width }));
    }
    let pixels = source.body(16, count, height * width)?;
    let sha256 = digest_of(&[magic, count, height, width], &pixels);
    Ok(Images { count: count as usize, height: height as usize, width: width as usize, pixels, sha256 })
}

/// Reads a file of labels, each of which must be below `classes`.
pub fn read_labels(path: &Path, classes: usize) -> Result<Labels, Error> {
    let mut source = IdxReader::open(path)?;
    let [magic, count] = source.header::<2>(LABELS_MAGIC)?;
    let labels = source.body(8, count, 1)?;
    if let Some(at) = labels.iter().position(|&label| usize::from(label) >= classes) {
        return Err(source.broken(FormatError::Label { label: labels[at], offset: 8 + at as u64, classes }));
    }
    let sha256 = digest_of(&[magic, count], &labels);
    Ok(Labels { labels, sha256 })
}

/// Puts images and labels together; errors when their counts differ.
pub fn pair(images: Images, images_path: &Path, labels: Labels, classes: usize) -> Result<ImageSet, Error> {
    if images.count != labels.labels.len() {
        let problem = FormatError::Counts { images: images.count, labels: labels.labels.len() };
        return Err(Error::broken(images_path, problem));
    }
    let dims = Dims { height: images.height, width: images.width, classes };
    ImageSet::new(dims, images.pixels, labels.labels)
}

/// The SHA-256, in hexadecimal, of what the file holds once unpacked. Reads in pieces, and errors
/// beyond `limit` bytes, so that a gzip bomb uses neither memory nor much time.
pub fn content_digest(path: &Path, limit: u64) -> Result<String, Error> {
    let mut source = IdxReader::open(path)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; 64 << 10];
    let mut total = 0u64;
    loop {
        let read = source.reader.read(&mut piece).map_err(|error| source.unreadable(total, error))?;
        if read == 0 {
            return Ok(hex(&hash.finalize()));
        }
        total += read as u64;
        if total > limit {
            return Err(source.broken(FormatError::TooLong { limit }));
        }
        hash.update(&piece[..read]);
    }
}

fn digest_of(words: &[u64], body: &[u8]) -> String {
    let words: Vec<u32> = words.iter().map(|&word| word as u32).collect();
    hex(&Sha256::new().chain_update(header(&words)).chain_update(body).finalize())
}

/// A file being read, unpacked on the way where it is gzip.
struct IdxReader {
    path: PathBuf,
    reader: Box<dyn Read>,
    /// The largest size in bytes that the content can have.
    most: u64,
    /// Exact length of the content where that is known without reading.
    length: Option<u64>,
}

impl IdxReader {
    fn open(path: &Path) -> Result<Self, Error> {
        let read_error = |error| Error::io("read", path)(error);
        // The check comes before the file is opened, since opening a pipe waits for a writer.
        let about = fs::metadata(path).map_err(read_error)?;
        if !about.is_file() {
            return Err(read_error(io::Error::other("it is not a file")));
        }
        let mut file = File::open(path).map_err(read_error)?;
        let mut first = Vec::new();
        file.by_ref().take(2).read_to_end(&mut first).map_err(read_error)?;
        file.rewind().map_err(read_error)?;
        let buffered = BufReader::with_capacity(64 << 10, file);
        let path = path.to_owned();
        if first == [0x1f, 0x8b] {
            let most = about.len().saturating_mul(MAX_GZIP_RATIO);
            return Ok(Self { path, reader: Box::new(MultiGzDecoder::new(buffered)), most, length: None });
        }
        Ok(Self { path, reader: Box::new(buffered), most: about.len(), length: Some(about.len()) })
    }

    /// The first `N` words, the magic number among them.
    fn header<const N: usize>(&mut self, expected: u32) -> Result<[u64; N], Error> {
        let need = 4 * N as u64;
        let mut bytes = Vec::new();
        let read = self.reader.by_ref().take(need).read_to_end(&mut bytes);
        read.map_err(|error| self.unreadable(bytes.len() as u64, error))?;
        let word = |at: usize| {
            bytes.get(4 * at..4 * at + 4).map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]))
        };
        match word(0) {
            Some(magic) if magic != expected => {
                let magic = FormatError::Magic { found: magic, expected };
                Err(self.broken(FormatError::foreign(&bytes).unwrap_or(magic)))
            }
            _ if bytes.len() < 4 * N => {
                Err(self.broken(FormatError::ShortHeader { length: bytes.len() as u64, need }))
            }
            _ => Ok(std::array::from_fn(|at| u64::from(word(at).unwrap_or_default()))),
        }
    }

    /// All that follows a header of `start` bytes: `count` items of `size` bytes and no more.
    fn body(&mut self, start: u64, count: u64, size: u64) -> Result<Vec<u8>, Error> {
        // count is below 2^32 and size at most 64 x 64, so that this cannot overflow.
        let (claimed, end) = (count * size, start + count * size);
        if count == 0 || claimed > MAX_CONTENT {
            return Err(self.broken(FormatError::Count { count, size, limit: MAX_CONTENT }));
        }
        match self.length {
            Some(length) if length < end => return Err(self.broken(FormatError::Truncated { length, end })),
            Some(length) if length > end => return Err(self.broken(FormatError::Trailing { end })),
            _ if self.most < end => {
                return Err(self.broken(FormatError::Truncated { length: self.most, end }));
            }
            _ => {}
        }
        let mut bytes = Vec::with_capacity(claimed as usize);
        let read = self.reader.by_ref().take(claimed).read_to_end(&mut bytes);
        let reached = start + bytes.len() as u64;
        read.map_err(|error| self.unreadable(reached, error))?;
        if reached < end {
            return Err(self.broken(FormatError::Truncated { length: reached, end }));
        }
        // One byte more is requested in any case: it makes gzip check its own checksum.
        match self.reader.read(&mut [0]) {
            Ok(0) => Ok(bytes),
            Ok(_) => Err(self.broken(FormatError::Trailing { end })),
            Err(error) => Err(self.unreadable(end, error)),
        }
    }

    fn broken(&self, problem: FormatError) -> Error {
        Error::broken(&self.path, problem)
    }

    /// An error while reading: of the disk if the file is plain, else most likely of the compression.
    fn unreadable(&self, offset: u64, error: io::Error) -> Error {
        let of_packing =
            [io::ErrorKind::UnexpectedEof, io::ErrorKind::InvalidData, io::ErrorKind::InvalidInput];
        if self.length.is_none() && of_packing.contains(&error.kind()) {
            return self.broken(FormatError::Gzip { offset, cause: error.to_string() });
        }
        Error::io("read", &self.path)(error)
    }
}
