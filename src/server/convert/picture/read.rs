//! Reading pictures whose form was checked: decoding, normalising, and what is known of each after that.

use bytes::{Bytes, BytesMut};

use super::{Checked, FEW, Form, Invalid, MOST_DECODED, Place, Reads, Seen, Unread};
use crate::{
    data::{
        Frame,
        image::{self, GreyPicture, Normalization, Quality, Shades},
    },
    engine::Pictures,
    pb::digitd::v1,
};

/// Of `Pictures::FloatBytes`.
const READS_NONE: &str = "what is read here is never in another protocol's form";

/// One picture that was read.
struct One {
    pixels: Pictures,
    /// What normalising said of it.
    quality: Option<Quality>,
}

/// Pixels of a call that were decoded so far.
struct Decoded(usize);

impl Decoded {
    fn add(&mut self, name: &str, pixels: usize) -> Result<(), Invalid> {
        self.0 += pixels;
        if self.0 <= MOST_DECODED {
            return Ok(());
        }
        let message = format!(
            "brings the call's encoded pictures to {} pixels: send at most {MOST_DECODED} a call",
            self.0
        );
        Err(Invalid::new(name, message))
    }
}

impl Unread {
    /// True where reading is no more than copying a few pictures.
    pub fn is_light(&self) -> bool {
        !self.pngs
            && self.images.len() + self.batch.len() / self.area() <= FEW
            && self.images.iter().all(|form| self.normalization(form).is_none())
    }

    /// Decodes and normalises, asking `stopped` before each picture; none where it said so.
    /// Errors name the picture.
    pub fn read(self, stopped: impl Fn() -> bool) -> Result<Option<Seen>, Invalid> {
        let (area, reads, pngs) = (self.area(), self.reads, self.pngs);
        let mut qualities = Vec::new();
        let pictures = match self.has_floats() {
            true => self.read_floats(&stopped, &mut qualities)?,
            false => self.read_bytes(&stopped, &mut qualities)?,
        };
        let Some(pictures) = pictures else { return Ok(None) };
        let mut seen = Seen { pictures, qualities: Vec::new(), pngs: Vec::new() };
        seen.qualities = seen.judged(area, reads, &qualities);
        if pngs {
            let Some(pngs) = seen.as_pngs(reads.frame, stopped) else { return Ok(None) };
            seen.pngs = pngs;
        }
        Ok(Some(seen))
    }

    /// Where one picture is given as numbers, all are: the network takes the one or the other.
    fn has_floats(&self) -> bool {
        let is_plain = |form: &Form| matches!(form, Form::Floats(_)) && self.normalization(form).is_none();
        self.images.iter().any(is_plain)
    }

    fn read_bytes(
        self,
        stopped: &impl Fn() -> bool,
        qualities: &mut Vec<Option<Quality>>,
    ) -> Result<Option<Pictures>, Invalid> {
        let mut pixels = BytesMut::with_capacity(self.images.len() * self.area() + self.batch.len());
        let mut decoded = Decoded(0);
        for (index, form) in self.images.iter().enumerate() {
            if stopped() {
                return Ok(None);
            }
            let one = self.read_one(&self.place.of(index), form, &mut decoded)?;
            qualities.push(one.quality);
            match one.pixels {
                Pictures::Bytes(bytes) => pixels.extend_from_slice(&bytes),
                Pictures::Floats(_) | Pictures::FloatBytes(_) => {
                    unreachable!("calls with numbers are read as numbers")
                }
            }
        }
        let Some(batch) = self.read_batch(stopped, qualities)? else { return Ok(None) };
        pixels.extend_from_slice(&batch);
        Ok(Some(Pictures::Bytes(pixels.freeze())))
    }

    fn read_floats(
        self,
        stopped: &impl Fn() -> bool,
        qualities: &mut Vec<Option<Quality>>,
    ) -> Result<Option<Pictures>, Invalid> {
        let mut values = Vec::with_capacity(self.images.len() * self.area() + self.batch.len());
        let mut decoded = Decoded(0);
        for (index, form) in self.images.iter().enumerate() {
            if stopped() {
                return Ok(None);
            }
            let one = self.read_one(&self.place.of(index), form, &mut decoded)?;
            qualities.push(one.quality);
            values.extend(one.pixels.into_values());
        }
        let Some(batch) = self.read_batch(stopped, qualities)? else { return Ok(None) };
        values.extend(batch.iter().map(|&byte| share(byte)));
        Ok(Some(Pictures::Floats(values)))
    }

    fn read_one(&self, place: &str, form: &Form, decoded: &mut Decoded) -> Result<One, Invalid> {
        let normalization = self.normalization(form);
        let plain = |pixels| Ok(One { pixels, quality: None });
        let (name, picture) = match (form, normalization) {
            (Form::Pixels(pixels), None) => return plain(Pictures::Bytes(pixels.clone())),
            (Form::Floats(floats), None) => {
                check_floats(&format!("{place}.floats"), &floats.values)?;
                return plain(Pictures::Floats(floats.values.clone()));
            }
            (Form::Encoded(bytes), _) => {
                let name = format!("{place}.encoded");
                let shades = match normalization {
                    Some(Normalization::Auto) => Shades::Contrast,
                    Some(Normalization::None | Normalization::Scale | Normalization::Center) | None => {
                        Shades::Luma
                    }
                };
                let picture = image::decode(bytes, shades).map_err(Invalid::at(&name))?;
                decoded.add(&name, picture.pixels.len())?;
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
        let digit = image::normalize(&picture, how, self.reads.frame).map_err(Invalid::at(&name))?;
        if how == Normalization::None {
            return plain(Pictures::Bytes(digit.pixels.into()));
        }
        if self.place == Place::Alone && digit.quality == Some(Quality::Blank) {
            return Err(Invalid::new(name, "is blank: no ink was found in it"));
        }
        Ok(One { pixels: Pictures::Bytes(digit.pixels.into()), quality: digit.quality })
    }

    fn read_batch(
        &self,
        stopped: &impl Fn() -> bool,
        qualities: &mut Vec<Option<Quality>>,
    ) -> Result<Option<Bytes>, Invalid> {
        let Some(how) = plain_normalization(self.asked) else {
            qualities.extend(std::iter::repeat_n(None, self.batch.len() / self.area()));
            return Ok(Some(self.batch.clone()));
        };
        let mut pixels = BytesMut::with_capacity(self.batch.len());
        for (index, picture) in self.batch.chunks_exact(self.area()).enumerate() {
            if stopped() {
                return Ok(None);
            }
            let digit = image::normalize(&self.grey(picture.to_vec()), how, self.reads.frame)
                .map_err(|problem| Invalid::new("pixel_batch", format!("picture {index}: {problem}")))?;
            qualities.push(digit.quality);
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
    pub(super) fn unless_ready(self) -> Checked {
        if plain_normalization(self.asked).is_some() || self.pngs {
            return Checked::Unread(self);
        }
        let pictures = match (&self.images[..], self.batch.is_empty()) {
            ([], false) => Pictures::Bytes(self.batch),
            ([Form::Pixels(pixels)], true) => Pictures::Bytes(pixels.clone()),
            _ => return Checked::Unread(self),
        };
        let mut seen = Seen { pictures, qualities: Vec::new(), pngs: Vec::new() };
        seen.qualities = seen.judged(self.reads.frame.area(), self.reads, &[]);
        Checked::Ready(seen)
    }
}

impl Seen {
    /// The quality of each picture: what normalising said of it, else whether it is blank, where that can
    /// be told.
    fn judged(&self, area: usize, reads: Reads, said: &[Option<Quality>]) -> Vec<Option<Quality>> {
        let judge = |index: usize, of_given: &dyn Fn() -> Quality| {
            let said = said.get(index).copied().flatten();
            said.or_else(|| reads.knows_blank.then(of_given))
        };
        match &self.pictures {
            Pictures::Bytes(bytes) => {
                let pictures = bytes.chunks_exact(area).enumerate();
                pictures.map(|(index, pixels)| judge(index, &|| Quality::of_given(pixels))).collect()
            }
            Pictures::Floats(values) => {
                let pictures = values.chunks_exact(area).enumerate();
                pictures.map(|(index, values)| judge(index, &|| Quality::of_given(values))).collect()
            }
            Pictures::FloatBytes(_) => unreachable!("{READS_NONE}"),
        }
    }

    /// Each picture as PNG; none where `stopped` said so.
    fn as_pngs(&self, frame: Frame, stopped: impl Fn() -> bool) -> Option<Vec<Bytes>> {
        let png = |pixels: &[u8]| -> Option<Bytes> {
            (!stopped()).then(|| image::to_png(pixels, frame.width, frame.height).into())
        };
        match &self.pictures {
            Pictures::Bytes(bytes) => bytes.chunks_exact(frame.area()).map(png).collect(),
            Pictures::Floats(values) => {
                let byte = |value: &f32| (value * 255.0).round() as u8;
                let pictures = values.chunks_exact(frame.area());
                pictures.map(|values| png(&values.iter().map(byte).collect::<Vec<u8>>())).collect()
            }
            Pictures::FloatBytes(_) => unreachable!("{READS_NONE}"),
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

pub(super) fn share(byte: u8) -> f32 {
    f32::from(byte) / 255.0
}
