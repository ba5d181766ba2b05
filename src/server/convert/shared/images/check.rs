//! Checks of everything that can be known of images without decoding them: how many there are, and their
//! sizes.

use bytes::Bytes;

use super::{
    decode::{CheckedImages, EncodedImages, ImageField},
    input::{ImageInputs, InputSpec, MAX_ENCODED, MAX_IMAGES_PER_CALL},
};
use crate::{
    data::{ImageSize, image::Normalization},
    ids::FieldError,
    pb::digitd::v1::{self, image::Form},
    server::convert::shared::enums::ContractEnum,
};

/// Checks the images of a prediction.
pub fn check(inputs: ImageInputs, spec: InputSpec) -> Result<CheckedImages, FieldError> {
    let ImageInputs { images, batch, normalization, return_pngs } = inputs;
    let normalization = Normalization::optional("normalization", normalization)?;
    let ImageSize { height, width } = spec.frame;
    let area = spec.frame.area();
    if !batch.len().is_multiple_of(area) {
        let message =
            format!("has {} bytes, which is no multiple of {area} ({height} x {width})", batch.len());
        return Err(FieldError::new("pixel_batch", message));
    }
    let count = images.len() + batch.len() / area;
    if count == 0 {
        return Err(FieldError::new("images", "is empty: send images or pixel_batch"));
    }
    if count > MAX_IMAGES_PER_CALL {
        return Err(FieldError::new(
            "images",
            format!("has {count} images: send at most {MAX_IMAGES_PER_CALL} a call"),
        ));
    }
    let check =
        |(index, image): (usize, v1::Image)| check_form(&ImageField::Indexed.path(index), image.form, spec);
    let images = images.into_iter().enumerate().map(check);
    let images = images.collect::<Result<Vec<_>, _>>()?;
    let encoded = images.iter().filter(|form| matches!(form, Form::Encoded(_))).count();
    if encoded > MAX_ENCODED {
        let message = format!("has {encoded} encoded images: send at most {MAX_ENCODED} a call");
        return Err(FieldError::new("images", message));
    }
    Ok(EncodedImages { spec, field: ImageField::Indexed, images, batch, normalization, return_pngs }
        .unless_ready())
}

/// Checks the one image of an inspection.
pub fn check_one(image: v1::Image, normalization: i32, spec: InputSpec) -> Result<CheckedImages, FieldError> {
    let normalization = Normalization::optional("normalization", normalization)?;
    let form = check_form(&ImageField::Single.path(0), image.form, spec)?;
    let field = ImageField::Single;
    let (images, batch) = (vec![form], Bytes::new());
    Ok(EncodedImages { spec, field, images, batch, normalization, return_pngs: false }.unless_ready())
}

fn check_form(place: &str, form: Option<Form>, spec: InputSpec) -> Result<Form, FieldError> {
    let (area, ImageSize { height, width }) = (spec.frame.area(), spec.frame);
    let wrong = |name: &str, given: usize, unit: &str| {
        let message = format!("has {given} {unit}: an image of {height} x {width} has {area}");
        Err(FieldError::new(format!("{place}.{name}"), message))
    };
    match form {
        None => Err(FieldError::new(place, "is empty: give encoded, pixels or floats")),
        Some(Form::Pixels(pixels)) if pixels.len() != area => wrong("pixels", pixels.len(), "bytes"),
        Some(Form::Floats(floats)) if floats.values.len() != area => {
            wrong("floats.values", floats.values.len(), "numbers")
        }
        Some(form) => Ok(form),
    }
}
