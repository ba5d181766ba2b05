//! Files and standard input that commands read: images, messages as JSON, and other bytes.

use std::{io::Read as _, path::Path};

use prost::Message;
use prost_reflect::DynamicMessage;

use super::error::Error;
use crate::{
    data::{self, ImageSet},
    pb::{
        descriptor,
        digitd::v1::{Image, image::Form},
    },
};

/// Number of bytes of an image of raw pixels.
const PIXELS: usize = 28 * 28;

/// Largest image that is read from a file or standard input: no server accepts a larger one.
const MAX_IMAGE_BYTES: u64 = data::image::MAX_ENCODED_BYTES as u64;

/// Largest message as JSON.
const MAX_MESSAGE_BYTES: u64 = 1 << 20;

/// An image from a file, or from standard input where the path is `-`: an image file, or 784 bytes of raw
/// pixels.
pub fn read_image(path: &str) -> Result<Image, Error> {
    let bytes = read(path, MAX_IMAGE_BYTES)?;
    let form = match bytes.len() == PIXELS && !is_encoded(&bytes) {
        true => Form::Pixels(bytes.into()),
        false => Form::Encoded(bytes.into()),
    };
    Ok(Image { form: Some(form) })
}

/// One image of a data set, as raw pixels to send.
pub fn raw_image(set: &ImageSet, index: usize) -> Image {
    Image { form: Some(Form::Pixels(set.image(index).to_vec().into())) }
}

/// A message from its JSON form in a file, or in standard input where the path is `-`. `name` is the name of
/// the message in the package `digitd.v1`.
///
/// Errors on a field that the message does not have and on a value that its field cannot hold; the error
/// says where.
pub fn read_message<M: Message + Default>(name: &str, path: &str) -> Result<M, Error> {
    let source = display_name(path);
    let text = String::from_utf8(read(path, MAX_MESSAGE_BYTES)?)
        .map_err(|_| Error::Usage(format!("{source} is not text")))?;
    parse(name, &text)
        .map_err(|cause| Error::Usage(format!("{source} is not the JSON form of {name}: {cause}")))
}

/// The bytes of a file, or of standard input where the path is `-`; at most `limit` of them.
pub fn read(path: &str, limit: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let result = match path {
        "-" => std::io::stdin().lock().take(limit + 1).read_to_end(&mut bytes),
        _ => {
            std::fs::File::open(Path::new(path)).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        }
    };
    let name = display_name(path);
    result.map_err(Error::io("read", name))?;
    if bytes.len() as u64 > limit {
        return Err(Error::Usage(format!("{name} is too large: at most {limit} bytes are read")));
    }
    Ok(bytes)
}

fn display_name(path: &str) -> &str {
    if path == "-" { "standard input" } else { path }
}

fn parse<M: Message + Default>(name: &str, text: &str) -> Result<M, String> {
    let mut from = serde_json::Deserializer::from_str(text);
    let dynamic =
        DynamicMessage::deserialize(descriptor(name), &mut from).map_err(|error| error.to_string())?;
    from.end().map_err(|error| error.to_string())?;
    dynamic.transcode_to().map_err(|error| error.to_string())
}

/// Whether bytes begin as a PNG, JPEG, GIF, BMP, WebP or PNM file does.
fn is_encoded(bytes: &[u8]) -> bool {
    let beginnings: [&[u8]; 5] = [b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF"];
    let pnm =
        bytes.len() > 2 && bytes[0] == b'P' && bytes[1].is_ascii_digit() && bytes[2].is_ascii_whitespace();
    pnm || beginnings.iter().any(|beginning| bytes.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::digitd::v1::{TrainRequest, optimizer::Rule};

    fn form(bytes: &[u8]) -> Form {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        std::fs::write(&path, bytes).unwrap();
        read_image(path.to_str().unwrap()).unwrap().form.unwrap()
    }

    #[test]
    fn raw_pixels_are_distinguished_from_image_files() {
        assert!(matches!(form(&[0; PIXELS]), Form::Pixels(_)));
        assert!(matches!(form(b"\x89PNG and so on"), Form::Encoded(_)));
        let mut small = b"P5 28 28 255\n".to_vec();
        small.resize(PIXELS, 0);
        assert!(matches!(form(&small), Form::Encoded(_)));
    }

    #[test]
    fn a_file_that_does_not_exist_is_named() {
        let error = read_image("/nowhere/7.png").unwrap_err().to_string();
        assert!(error.contains("/nowhere/7.png"), "{error}");
    }

    #[test]
    fn a_request_is_read_with_either_spelling_of_its_fields() {
        for text in [
            r#"{"batchSize": 50, "optimizer": {"sgd": {"learningRate": 0.1}}}"#,
            r#"{"batch_size": 50, "optimizer": {"sgd": {"learning_rate": 0.1}}}"#,
        ] {
            let request: TrainRequest = parse("TrainRequest", text).unwrap();
            assert_eq!(request.batch_size, Some(50));
            let Some(Rule::Sgd(sgd)) = request.optimizer.unwrap().rule else { panic!("not sgd") };
            assert_eq!(sgd.learning_rate, Some(0.1));
        }
    }

    #[test]
    fn an_unknown_field_is_rejected_by_name() {
        let error = parse::<TrainRequest>("TrainRequest", r#"{"epoch": 5}"#).unwrap_err();
        assert!(error.contains("epoch"), "{error}");
        let error = parse::<TrainRequest>("TrainRequest", r#"{"epochs": 5} {}"#).unwrap_err();
        assert!(error.contains("trailing"), "{error}");
    }
}
