//! Decoding and normalization of images that were checked, and the quality of each image.

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
            && self.images.len() + self.batch.len() / self.area() <= MAX_INLINE_IMAGES
            && self.images.iter().all(|form| self.normalization(form).is_none())
    }

    /// Decodes and normalises the images. Returns `None` if `stopped`, which is called before each image, says
    /// so. Errors name the image.
    pub fn read(self, stopped: impl Fn() -> bool) -> Result<Option<DecodedImages>, FieldError> {
        let (spec, return_pngs) = (self.spec, self.return_pngs);
        let mut qualities = Vec::new();
        let images = match self.has_floats() {
            true => self.read_floats(&stopped, &mut qualities)?,
            false => self.read_bytes(&stopped, &mut qualities)?,
        };
        let Some(images) = images else { return Ok(None) };
        let mut decoded = DecodedImages::new(images, spec, &qualities);
        if return_pngs {
            let Some(pngs) = decoded.to_pngs(spec.frame, stopped) else { return Ok(None) };
            decoded.pngs = pngs;
        }
        Ok(Some(decoded))
    }

    /// If one image is given as floats, all become floats: the network takes either floats or bytes.
    fn has_floats(&self) -> bool {
        let is_plain = |form: &Form| matches!(form, Form::Floats(_)) && self.normalization(form).is_none();
        self.images.iter().any(is_plain)
    }

    fn read_bytes(
        self,
        stopped: &impl Fn() -> bool,
        qualities: &mut Vec<Option<Quality>>,
    ) -> Result<Option<ImageBatch>, FieldError> {
        let mut pixels = BytesMut::with_capacity(self.images.len() * self.area() + self.batch.len());
        let mut decoded = PixelBudget(0);
        for (index, form) in self.images.iter().enumerate() {
            if stopped() {
                return Ok(None);
            }
            let one = self.read_one(&self.field.path(index), form, &mut decoded)?;
            qualities.push(one.quality);
            match one.pixels {
                ImageBatch::Bytes(bytes) => pixels.extend_from_slice(&bytes),
                ImageBatch::Floats(_) | ImageBatch::FloatBytes(_) => {
                    unreachable!("calls with numbers are read as numbers")
                }
            }
        }
        let Some(batch) = self.read_batch(stopped, qualities)? else { return Ok(None) };
        pixels.extend_from_slice(&batch);
        Ok(Some(ImageBatch::Bytes(pixels.freeze())))
    }

    fn read_floats(
        self,
        stopped: &impl Fn() -> bool,
        qualities: &mut Vec<Option<Quality>>,
    ) -> Result<Option<ImageBatch>, FieldError> {
        let mut values = Vec::with_capacity(self.images.len() * self.area() + self.batch.len());
        let mut decoded = PixelBudget(0);
        for (index, form) in self.images.iter().enumerate() {
            if stopped() {
                return Ok(None);
            }
            let one = self.read_one(&self.field.path(index), form, &mut decoded)?;
            qualities.push(one.quality);
            values.extend(one.pixels.into_values());
        }
        let Some(batch) = self.read_batch(stopped, qualities)? else { return Ok(None) };
        values.extend(batch.iter().map(|&byte| to_unit(byte)));
        Ok(Some(ImageBatch::Floats(values)))
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

    fn read_batch(
        &self,
        stopped: &impl Fn() -> bool,
        qualities: &mut Vec<Option<Quality>>,
    ) -> Result<Option<Bytes>, FieldError> {
        let Some(how) = plain_normalization(self.normalization) else {
            qualities.extend(std::iter::repeat_n(None, self.batch.len() / self.area()));
            return Ok(Some(self.batch.clone()));
        };
        let mut pixels = BytesMut::with_capacity(self.batch.len());
        for (index, image) in self.batch.chunks_exact(self.area()).enumerate() {
            if stopped() {
                return Ok(None);
            }
            let digit = image::normalize(&self.grey(image.to_vec()), how, self.spec.frame)
                .map_err(|problem| FieldError::new("pixel_batch", format!("image {index}: {problem}")))?;
            qualities.push(digit.quality);
            pixels.extend_from_slice(&digit.pixels);
        }
        Ok(Some(pixels.freeze()))
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

    /// Each image as PNG; `None` if `stopped` says so.
    fn to_pngs(&self, frame: ImageSize, stopped: impl Fn() -> bool) -> Option<Vec<Bytes>> {
        let png = |pixels: &[u8]| -> Option<Bytes> {
            (!stopped()).then(|| image::to_png(pixels, frame.width, frame.height).into())
        };
        match &self.images {
            ImageBatch::Bytes(bytes) => bytes.chunks_exact(frame.area()).map(png).collect(),
            ImageBatch::Floats(values) => {
                let byte = |value: &f32| (value * 255.0).round() as u8;
                let each = values.chunks_exact(frame.area());
                each.map(|values| png(&values.iter().map(byte).collect::<Vec<u8>>())).collect()
            }
            ImageBatch::FloatBytes(_) => unreachable!("{NEVER_FLOAT_BYTES}"),
        }
    }
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
