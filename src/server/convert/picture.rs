//! Pictures of requests → what a network takes: bytes [n, H·W], or numbers in [0, 1]. The form is
//! checked at once, for the size that the version reads; decoding and normalising takes long and is a step of its own (`Unread::read`).

use bytes::{Bytes, BytesMut};

use super::field::{Invalid, choice};
use crate::{
    data::{
        Frame,
        image::{self, GreyPicture, Normalization},
    },
    engine::Pictures,
    pb::digitd::v1::{self, image::Form},
    registry::Manifest,
};

/// Most pictures of one call.
pub const MOST_PICTURES: usize = 16_384;

/// Most encoded pictures of one call: each may unpack to 4096 × 4096 pixels.
pub const MOST_ENCODED: usize = 1_024;

/// Pictures up to this many are copied where the call is; more go to a thread of their own.
pub const FEW: usize = 64;

/// What pictures a version reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reads {
    pub frame: Frame,
    /// What is done to an encoded picture where the request does not say.
    pub encoded: Normalization,
}

impl Reads {
    pub fn of(manifest: &Manifest) -> Self {
        let frame = Frame { height: manifest.height, width: manifest.width };
        // Pictures of a data set of one's own were trained on as they are.
        let own = manifest.config.as_ref().is_some_and(|config| !config.dataset.is_built_in());
        Self { frame, encoded: if own { Normalization::Scale } else { Normalization::Auto } }
    }
}

/// The pictures of a request whose number and sizes are right.
#[derive(Debug)]
pub enum Checked {
    /// As the network takes them.
    Ready(Pictures),
    Unread(Unread),
}

/// Pictures that still have to be read.
#[derive(Debug)]
pub struct Unread {
    reads: Reads,
    place: Place,
    images: Vec<Form>,
    batch: Bytes,
    asked: v1::Normalization,
}

/// Where a request carries its pictures, for errors to name them.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// `image`
    Alone,
    /// `images[i]`
    Listed,
}

impl Place {
    fn of(self, index: usize) -> String {
        match self {
            Self::Alone => "image".to_owned(),
            Self::Listed => format!("images[{index}]"),
        }
    }
}

/// The pictures of a request, before it is known for whom.
#[derive(Debug, Default)]
pub struct Given {
    pub images: Vec<v1::Image>,
    pub batch: Bytes,
    pub normalization: i32,
}

/// Checks what can be told without reading: that there are pictures, how many, and their sizes.
pub fn check(given: Given, reads: Reads) -> Result<Checked, Invalid> {
    let Given { images, batch, normalization } = given;
    let asked = choice("normalization", normalization)?;
    let Frame { height, width } = reads.frame;
    let area = reads.frame.area();
    if !batch.len().is_multiple_of(area) {
        let message =
            format!("has {} bytes, which is no multiple of {area} ({height} x {width})", batch.len());
        return Err(Invalid::new("pixel_batch", message));
    }
    let count = images.len() + batch.len() / area;
    if count == 0 {
        return Err(Invalid::new("images", "is empty: send images or pixel_batch"));
    }
    if count > MOST_PICTURES {
        return Err(Invalid::new(
            "images",
            format!("has {count} pictures: send at most {MOST_PICTURES} a call"),
        ));
    }
    let check = |(index, image): (usize, v1::Image)| check_form(&Place::Listed.of(index), image.form, reads);
    let images = images.into_iter().enumerate().map(check);
    let images = images.collect::<Result<Vec<_>, _>>()?;
    let encoded = images.iter().filter(|form| matches!(form, Form::Encoded(_))).count();
    if encoded > MOST_ENCODED {
        let message = format!("has {encoded} encoded pictures: send at most {MOST_ENCODED} a call");
        return Err(Invalid::new("images", message));
    }
    Ok(Unread { reads, place: Place::Listed, images, batch, asked }.unless_ready())
}

/// The one picture of an inspection.
pub fn check_one(image: v1::Image, normalization: i32, reads: Reads) -> Result<Checked, Invalid> {
    let asked = choice("normalization", normalization)?;
    let form = check_form(&Place::Alone.of(0), image.form, reads)?;
    let place = Place::Alone;
    Ok(Unread { reads, place, images: vec![form], batch: Bytes::new(), asked }.unless_ready())
}

impl Unread {
    /// True where reading is no more than copying a few pictures.
    pub fn is_light(&self) -> bool {
        self.images.len() + self.batch.len() / self.area() <= FEW
            && self.images.iter().all(|form| self.normalization(form).is_none())
    }

    /// Decodes and normalises, asking `stopped` before each picture; none where it said so.
    /// Errors name the picture.
    pub fn read(self, stopped: impl Fn() -> bool) -> Result<Option<Pictures>, Invalid> {
        if self
            .images
            .iter()
            .any(|form| matches!(form, Form::Floats(_)) && self.normalization(form).is_none())
        {
            return self.read_floats(stopped);
        }
        let mut pixels = BytesMut::with_capacity(self.images.len() * self.area() + self.batch.len());
        for (index, form) in self.images.iter().enumerate() {
            if stopped() {
                return Ok(None);
            }
            match self.read_one(&self.place.of(index), form)? {
                Pictures::Bytes(bytes) => pixels.extend_from_slice(&bytes),
                Pictures::Floats(_) | Pictures::FloatBytes(_) => {
                    unreachable!("calls with numbers are read as numbers")
                }
            }
        }
        match self.read_batch(stopped)? {
            None => return Ok(None),
            Some(batch) => pixels.extend_from_slice(&batch),
        }
        Ok(Some(Pictures::Bytes(pixels.freeze())))
    }

    /// Where one picture is given as numbers, all are: the network takes the one or the other.
    fn read_floats(self, stopped: impl Fn() -> bool) -> Result<Option<Pictures>, Invalid> {
        let mut values = Vec::with_capacity(self.images.len() * self.area() + self.batch.len());
        for (index, form) in self.images.iter().enumerate() {
            if stopped() {
                return Ok(None);
            }
            values.extend(self.read_one(&self.place.of(index), form)?.into_values());
        }
        let Some(batch) = self.read_batch(stopped)? else { return Ok(None) };
        values.extend(Pictures::Bytes(batch).into_values());
        Ok(Some(Pictures::Floats(values)))
    }

    fn read_one(&self, place: &str, form: &Form) -> Result<Pictures, Invalid> {
        let normalization = self.normalization(form);
        let (name, picture) = match (form, normalization) {
            (Form::Pixels(pixels), None) => return Ok(Pictures::Bytes(pixels.clone())),
            (Form::Floats(floats), None) => {
                check_floats(&format!("{place}.floats"), &floats.values)?;
                return Ok(Pictures::Floats(floats.values.clone()));
            }
            (Form::Encoded(bytes), _) => {
                let name = format!("{place}.encoded");
                let picture = image::decode(bytes).map_err(Invalid::at(&name))?;
                (name, picture)
            }
            (Form::Pixels(pixels), Some(_)) => (format!("{place}.pixels"), self.grey(pixels.to_vec())),
            (Form::Floats(floats), Some(_)) => {
                let name = format!("{place}.floats");
                check_floats(&name, &floats.values)?;
                // Normalising scales and centres the ink: a 255th more or less is lost in it.
                (name, self.grey(floats.values.iter().map(|value| (value * 255.0).round() as u8).collect()))
            }
        };
        let how = normalization.unwrap_or(Normalization::None);
        let digit = image::normalize(&picture, how, self.reads.frame).map_err(Invalid::at(name))?;
        Ok(Pictures::Bytes(digit.pixels.into()))
    }

    fn read_batch(&self, stopped: impl Fn() -> bool) -> Result<Option<Bytes>, Invalid> {
        let Some(how) = plain_normalization(self.asked) else { return Ok(Some(self.batch.clone())) };
        let mut pixels = BytesMut::with_capacity(self.batch.len());
        for (index, picture) in self.batch.chunks_exact(self.area()).enumerate() {
            if stopped() {
                return Ok(None);
            }
            let digit = image::normalize(&self.grey(picture.to_vec()), how, self.reads.frame)
                .map_err(|problem| Invalid::new("pixel_batch", format!("picture {index}: {problem}")))?;
            pixels.extend_from_slice(&digit.pixels);
        }
        Ok(Some(pixels.freeze()))
    }

    /// What has to be done to a picture; none where it is taken as it is.
    fn normalization(&self, form: &Form) -> Option<Normalization> {
        match (form, self.asked) {
            (Form::Encoded(_), v1::Normalization::Unspecified) => Some(self.reads.encoded),
            (Form::Encoded(_), v1::Normalization::None) => Some(Normalization::None),
            (Form::Encoded(_), v1::Normalization::Scale) => Some(Normalization::Scale),
            (_, asked) => plain_normalization(asked),
        }
    }

    fn area(&self) -> usize {
        self.reads.frame.area()
    }

    fn grey(&self, pixels: Vec<u8>) -> GreyPicture {
        let Frame { height, width } = self.reads.frame;
        GreyPicture { width, height, pixels }
    }

    /// Takes the pictures as they are, without a copy, where nothing has to be done to them.
    fn unless_ready(self) -> Checked {
        if plain_normalization(self.asked).is_some() {
            return Checked::Unread(self);
        }
        match (&self.images[..], self.batch.is_empty()) {
            ([], false) => Checked::Ready(Pictures::Bytes(self.batch)),
            ([Form::Pixels(pixels)], true) => Checked::Ready(Pictures::Bytes(pixels.clone())),
            _ => Checked::Unread(self),
        }
    }
}

/// What has to be done to pictures that have the size already.
fn plain_normalization(asked: v1::Normalization) -> Option<Normalization> {
    match asked {
        v1::Normalization::Unspecified | v1::Normalization::None | v1::Normalization::Scale => None,
        v1::Normalization::Center => Some(Normalization::Center),
        v1::Normalization::Auto => Some(Normalization::Auto),
    }
}

fn check_form(place: &str, form: Option<Form>, reads: Reads) -> Result<Form, Invalid> {
    let (area, Frame { height, width }) = (reads.frame.area(), reads.frame);
    let wrong = |name: &str, given: usize, unit: &str| {
        let message = format!("has {given} {unit}: a picture of {height} x {width} has {area}");
        Err(Invalid::new(format!("{place}.{name}"), message))
    };
    match form {
        None => Err(Invalid::new(place, "is empty: give encoded, pixels or floats")),
        Some(Form::Pixels(pixels)) if pixels.len() != area => wrong("pixels", pixels.len(), "bytes"),
        Some(Form::Floats(floats)) if floats.values.len() != area => {
            wrong("floats.values", floats.values.len(), "numbers")
        }
        Some(form) => Ok(form),
    }
}

fn check_floats(field: &str, values: &[f32]) -> Result<(), Invalid> {
    // NaN lies in no range.
    match values.iter().position(|value| !(0.0..=1.0).contains(value)) {
        None => Ok(()),
        Some(at) => {
            let message = format!("is {}: use 0 (background) to 1 (ink)", values[at]);
            Err(Invalid::new(format!("{field}.values[{at}]"), message))
        }
    }
}

#[cfg(test)]
mod tests;
