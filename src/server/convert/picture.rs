//! Pictures of requests → what a network takes: bytes [n, H·W], or numbers in [0, 1]. The form is
//! checked at once, for the size that the version reads; decoding and normalising takes long and is a step of
//! its own (`read`).

mod read;

use bytes::Bytes;

use super::field::{Invalid, choice};
use crate::{
    data::{
        Frame,
        image::{Normalization, Quality},
    },
    engine::Pictures,
    pb::digitd::v1::{self, image::Form},
    registry::Manifest,
};

/// Most pictures of one call.
pub const MOST_PICTURES: usize = 16_384;

/// Most encoded pictures of one call: each may unpack to 4096 × 4096 pixels.
pub const MOST_ENCODED: usize = 1_024;

/// Most pixels that the encoded pictures of one call may unpack to: eight of the largest, or 1024 of
/// 362 × 362. More keep a core busy for longer than callers wait.
pub const MOST_DECODED: usize = 8 * 4096 * 4096;

/// Pictures up to this many are copied where the call is; more go to a thread of their own.
pub const FEW: usize = 64;

/// What pictures a version reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reads {
    pub frame: Frame,
    /// What is done to an encoded picture where the request does not say.
    pub encoded: Normalization,
    /// Whether a picture that is taken as it is may be blank; in a data set of one's own that may be a
    /// class.
    pub knows_blank: bool,
}

impl Reads {
    pub fn of(manifest: &Manifest) -> Self {
        let frame = Frame { height: manifest.height, width: manifest.width };
        Self::like(frame, manifest.config.as_ref().is_none_or(|config| config.dataset.is_built_in()))
    }

    /// What is read where the training images were those of a built-in data set, or of one's own, which
    /// were trained on as they are.
    pub fn like(frame: Frame, built_in: bool) -> Self {
        let encoded = if built_in { Normalization::Auto } else { Normalization::Scale };
        Self { frame, encoded, knows_blank: built_in }
    }
}

/// The pictures of a request whose number and sizes are right.
#[derive(Debug)]
pub enum Checked {
    Ready(Seen),
    Unread(Unread),
}

/// Pictures as the network takes them.
#[derive(Debug)]
pub struct Seen {
    pub pictures: Pictures,
    /// Of each picture; none where it is not judged.
    pub qualities: Vec<Option<Quality>>,
    /// Each as PNG, where that was asked for.
    pub pngs: Vec<Bytes>,
}

/// Pictures that still have to be read.
#[derive(Debug)]
pub struct Unread {
    reads: Reads,
    place: Place,
    images: Vec<Form>,
    batch: Bytes,
    asked: v1::Normalization,
    pngs: bool,
}

/// Where a request carries its pictures, for errors to name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// Whether what the network sees is wanted as PNG.
    pub pngs: bool,
}

/// Checks what can be told without reading: that there are pictures, how many, and their sizes.
pub fn check(given: Given, reads: Reads) -> Result<Checked, Invalid> {
    let Given { images, batch, normalization, pngs } = given;
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
    Ok(Unread { reads, place: Place::Listed, images, batch, asked, pngs }.unless_ready())
}

/// The one picture of an inspection.
pub fn check_one(image: v1::Image, normalization: i32, reads: Reads) -> Result<Checked, Invalid> {
    let asked = choice("normalization", normalization)?;
    let form = check_form(&Place::Alone.of(0), image.form, reads)?;
    let place = Place::Alone;
    let (images, batch) = (vec![form], Bytes::new());
    Ok(Unread { reads, place, images, batch, asked, pngs: false }.unless_ready())
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

#[cfg(test)]
mod tests;
