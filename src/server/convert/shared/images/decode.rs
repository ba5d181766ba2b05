//! Decoding and normalization of images that were checked, and the quality of each image.

use std::{future::poll_fn, mem, task::Poll};

use bytes::{Bytes, BytesMut};

use super::input::{InputSpec, MAX_DECODED_PIXELS, MAX_INLINE_IMAGES};
use crate::{
    data::{
        ImageSize,
        image::{self, GrayPicture, Grayscale, Normalization, Quality},
    },
    engine::ImageBatch,
    ids::FieldError,
    pb::digitd::v1::image::Form,
};

/// The invariant behind two `unreachable!`: `ImageBatch::FloatBytes` comes from the other protocol alone.
const NEVER_FLOAT_BYTES: &str = "images of this protocol never come as bytes of floats";

/// The images of a request whose number and sizes are right.
#[derive(Debug)]
pub enum CheckedImages {
    Ready(DecodedImages),
    Encoded(EncodedImages),
}

/// Images in the form that the network takes.
#[derive(Debug)]
pub struct DecodedImages {
    pub images: ImageBatch,
    /// The quality of each image; `None` if it is not known.
    pub qualities: Vec<Option<Quality>>,
    /// The network's input of each image as PNG, if the request wants it.
    pub pngs: Vec<Bytes>,
}

/// Images that still have to be decoded, normalised or copied.
#[derive(Debug)]
pub struct EncodedImages {
    pub(super) spec: InputSpec,
    pub(super) field: ImageField,
    pub(super) images: Vec<Form>,
    pub(super) batch: Bytes,
    /// `None` if the request does not say it.
    pub(super) normalization: Option<Normalization>,
    pub(super) return_pngs: bool,
}

/// The field that carries an image, for the paths in errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ImageField {
    /// The field `image`.
    Single,
    /// An entry of `images`.
    Indexed,
}

impl ImageField {
    pub(super) fn path(self, index: usize) -> String {
        match self {
            Self::Single => "image".to_owned(),
            Self::Indexed => format!("images[{index}]"),
        }
    }
}

/// One decoded image.
struct DecodedImage {
    pixels: ImageBatch,
    /// The quality that normalization found.
    quality: Option<Quality>,
}

/// Counts the pixels that a call decoded so far.
struct PixelBudget(usize);

impl PixelBudget {
    fn add(&mut self, name: &str, pixels: usize) -> Result<(), FieldError> {
        self.0 += pixels;
        if self.0 <= MAX_DECODED_PIXELS {
            return Ok(());
        }
        let message = format!(
            "brings the call's encoded images to {} pixels: send at most {MAX_DECODED_PIXELS} a call",
            self.0
        );
        Err(FieldError::new(name, message))
    }
}

impl EncodedImages {
    /// True if decoding is no more than copying a few images.
    pub fn is_inline(&self) -> bool {
        !self.return_pngs
            && self.count() <= MAX_INLINE_IMAGES
            && self.images.iter().all(|form| self.normalization(form).is_none())
    }

    /// The number of images.
    pub fn count(&self) -> usize {
        self.images.len() + self.batch.len() / self.area()
    }

    /// Decodes and normalises the images. The future computes one image each time it is polled, and waits for nothing:
    /// calls of many images can take turns, and dropping the future ends the work. Errors name the image.
    pub async fn read(self) -> Result<DecodedImages, FieldError> {
        let (spec, return_pngs) = (self.spec, self.return_pngs);
        let mut qualities = Vec::new();
        let images = match self.has_floats() {
            true => self.read_floats(&mut qualities).await?,
            false => self.read_bytes(&mut qualities).await?,
        };
        let mut decoded = DecodedImages::new(images, spec, &qualities);
        if return_pngs {
            decoded.pngs = decoded.to_pngs(spec.frame).await;
        }
        Ok(decoded)
    }

    /// If one image is given as floats, all become floats: the network takes either floats or bytes.
    fn has_floats(&self) -> bool {
        let is_plain = |form: &Form| matches!(form, Form::Floats(_)) && self.normalization(form).is_none();
        self.images.iter().any(is_plain)
    }

    async fn read_bytes(self, qualities: &mut Vec<Option<Quality>>) -> Result<ImageBatch, FieldError> {
        let mut pixels = BytesMut::with_capacity(self.images.len() * self.area() + self.batch.len());
        let mut decoded = PixelBudget(0);
        for (index, form) in self.images.iter().enumerate() {
            end_turn().await;
            let one = self.read_one(&self.field.path(index), form, &mut decoded)?;
            qualities.push(one.quality);
            match one.pixels {
                ImageBatch::Bytes(bytes) => pixels.extend_from_slice(&bytes),
                ImageBatch::Floats(_) | ImageBatch::FloatBytes(_) => {
                    unreachable!("calls with numbers are read as numbers")
                }
            }
        }
        let batch = self.read_batch(qualities).await?;
        pixels.extend_from_slice(&batch);
        Ok(ImageBatch::Bytes(pixels.freeze()))
    }

    async fn read_floats(self, qualities: &mut Vec<Option<Quality>>) -> Result<ImageBatch, FieldError> {
        let mut values = Vec::with_capacity(self.images.len() * self.area() + self.batch.len());
        let mut decoded = PixelBudget(0);
        for (index, form) in self.images.iter().enumerate() {
            end_turn().await;
            let one = self.read_one(&self.field.path(index), form, &mut decoded)?;
            qualities.push(one.quality);
            values.extend(one.pixels.into_values());
        }
        let batch = self.read_batch(qualities).await?;
        values.extend(batch.iter().map(|&byte| to_unit(byte)));
        Ok(ImageBatch::Floats(values))
    }

    fn read_one(
        &self,
        path: &str,
        form: &Form,
        decoded: &mut PixelBudget,
    ) -> Result<DecodedImage, FieldError> {
        let normalization = self.normalization(form);
        let plain = |pixels| Ok(DecodedImage { pixels, quality: None });
        let (name, picture) = match (form, normalization) {
            (Form::Pixels(pixels), None) => return plain(ImageBatch::Bytes(pixels.clone())),
            (Form::Floats(floats), None) => {
                check_floats(&format!("{path}.floats"), &floats.values)?;
                return plain(ImageBatch::Floats(floats.values.clone()));
            }
            (Form::Encoded(bytes), _) => {
                let name = format!("{path}.encoded");
                let shades = match normalization {
                    Some(Normalization::Auto) => Grayscale::Contrast,
                    Some(Normalization::None | Normalization::Scale | Normalization::Center) | None => {
                        Grayscale::Luma
                    }
                };
                let (picture, pixels) =
                    image::decode_counted(bytes, shades).map_err(FieldError::at(&name))?;
                decoded.add(&name, pixels)?;
                (name, picture)
            }
            (Form::Pixels(pixels), Some(_)) => (format!("{path}.pixels"), self.grey(pixels.to_vec())),
            (Form::Floats(floats), Some(_)) => {
                let name = format!("{path}.floats");
                check_floats(&name, &floats.values)?;
                // Normalising scales and centres the ink: a 255th more or less is lost in it.
                (name, self.grey(floats.values.iter().map(|value| (value * 255.0).round() as u8).collect()))
            }
        };
        let how = normalization.unwrap_or(Normalization::None);
        let digit = image::normalize(&picture, how, self.spec.frame).map_err(FieldError::at(&name))?;
        if how == Normalization::None {
            return plain(ImageBatch::Bytes(digit.pixels.into()));
        }
        if self.field == ImageField::Single && digit.quality == Some(Quality::Blank) {
            return Err(FieldError::new(name, "is blank: no ink was found in it"));
        }
        Ok(DecodedImage { pixels: ImageBatch::Bytes(digit.pixels.into()), quality: digit.quality })
    }

    async fn read_batch(&self, qualities: &mut Vec<Option<Quality>>) -> Result<Bytes, FieldError> {
        let Some(how) = plain_normalization(self.normalization) else {
            qualities.extend(std::iter::repeat_n(None, self.batch.len() / self.area()));
            return Ok(self.batch.clone());
        };
        let mut pixels = BytesMut::with_capacity(self.batch.len());
        for (index, image) in self.batch.chunks_exact(self.area()).enumerate() {
            end_turn().await;
            let digit = image::normalize(&self.grey(image.to_vec()), how, self.spec.frame)
                .map_err(|problem| FieldError::new("pixel_batch", format!("image {index}: {problem}")))?;
            qualities.push(digit.quality);
            pixels.extend_from_slice(&digit.pixels);
        }
        Ok(pixels.freeze())
    }

    /// The normalization that an image needs; `None` if it is used as it is.
    fn normalization(&self, form: &Form) -> Option<Normalization> {
        match (form, self.normalization) {
            (Form::Encoded(_), None) => Some(self.spec.encoded),
            (Form::Encoded(_), Some(Normalization::None)) => Some(Normalization::None),
            (Form::Encoded(_), Some(Normalization::Scale)) => Some(Normalization::Scale),
            (_, requested) => plain_normalization(requested),
        }
    }

    fn area(&self) -> usize {
        self.spec.frame.area()
    }

    fn grey(&self, pixels: Vec<u8>) -> GrayPicture {
        let ImageSize { height, width } = self.spec.frame;
        GrayPicture { width, height, pixels }
    }

    /// Takes the images without a copy if nothing has to be done to them.
    pub(super) fn unless_ready(self) -> CheckedImages {
        if plain_normalization(self.normalization).is_some() || self.return_pngs {
            return CheckedImages::Encoded(self);
        }
        let images = match (&self.images[..], self.batch.is_empty()) {
            ([], false) => ImageBatch::Bytes(self.batch),
            ([Form::Pixels(pixels)], true) => ImageBatch::Bytes(pixels.clone()),
            _ => return CheckedImages::Encoded(self),
        };
        CheckedImages::Ready(DecodedImages::new(images, self.spec, &[]))
    }
}

impl DecodedImages {
    /// `found` holds the qualities that normalization found. An image without one is blank or not, if the
    /// version has no class of blank images.
    fn new(images: ImageBatch, spec: InputSpec, found: &[Option<Quality>]) -> Self {
        let area = spec.frame.area();
        let quality = |index: usize, of_given: &dyn Fn() -> Quality| {
            let found = found.get(index).copied().flatten();
            found.or_else(|| spec.detects_blank.then(of_given))
        };
        let qualities = match &images {
            ImageBatch::Bytes(bytes) => {
                let each = bytes.chunks_exact(area).enumerate();
                each.map(|(index, pixels)| quality(index, &|| Quality::of_given(pixels, spec.frame, 128)))
                    .collect()
            }
            ImageBatch::Floats(values) => {
                let each = values.chunks_exact(area).enumerate();
                each.map(|(index, values)| quality(index, &|| Quality::of_given(values, spec.frame, 0.5)))
                    .collect()
            }
            ImageBatch::FloatBytes(_) => unreachable!("{NEVER_FLOAT_BYTES}"),
        };
        Self { images, qualities, pngs: Vec::new() }
    }

    /// Each image as PNG.
    async fn to_pngs(&self, frame: ImageSize) -> Vec<Bytes> {
        let png = |pixels: &[u8]| image::to_png(pixels, frame.width, frame.height).into();
        let byte = |value: &f32| (value * 255.0).round() as u8;
        let mut pngs = Vec::with_capacity(self.qualities.len());
        for index in 0..self.qualities.len() {
            end_turn().await;
            let range = index * frame.area()..(index + 1) * frame.area();
            pngs.push(match &self.images {
                ImageBatch::Bytes(bytes) => png(&bytes[range]),
                ImageBatch::Floats(values) => png(&values[range].iter().map(byte).collect::<Vec<u8>>()),
                ImageBatch::FloatBytes(_) => unreachable!("{NEVER_FLOAT_BYTES}"),
            });
        }
        pngs
    }
}

/// Is pending once, so that whoever polls the work can turn to that of another call before the next image.
async fn end_turn() {
    let mut ended = false;
    poll_fn(|_| match mem::replace(&mut ended, true) {
        // Nobody is woken: the work can go on at once, and its pool knows that.
        false => Poll::Pending,
        true => Poll::Ready(()),
    })
    .await;
}

/// The normalization of images that have the right size already.
fn plain_normalization(requested: Option<Normalization>) -> Option<Normalization> {
    match requested {
        None | Some(Normalization::None | Normalization::Scale) => None,
        Some(Normalization::Center) => Some(Normalization::Center),
        Some(Normalization::Auto) => Some(Normalization::Auto),
    }
}

fn check_floats(field: &str, values: &[f32]) -> Result<(), FieldError> {
    // NaN lies in no range.
    match values.iter().position(|value| !(0.0..=1.0).contains(value)) {
        None => Ok(()),
        Some(at) => {
            let message = format!("is {}: use 0 (background) to 1 (ink)", values[at]);
            Err(FieldError::new(format!("{field}.values[{at}]"), message))
        }
    }
}

fn to_unit(byte: u8) -> f32 {
    f32::from(byte) / 255.0
}
