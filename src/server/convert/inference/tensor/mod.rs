//! The input tensor → images. Its form is checked first, then its shape and length for the size that the
//! version takes, and its values last, because those of many images take long.

use bytes::Bytes;

use super::fields::{INPUT, quoted};
use crate::{
    data::ImageSize,
    engine::ImageBatch,
    ids::FieldError,
    pb::inference::{InferTensorContents, model_infer_request::InferInputTensor},
    server::{
        convert::shared::images::{MAX_IMAGES_PER_CALL, MAX_INLINE_IMAGES},
        decode_pool::Cost,
    },
};

/// The input, before it is known which version it is for.
#[derive(Debug)]
pub struct InputTensor {
    shape: Vec<i64>,
    values: TensorValues,
}

/// An input whose shape and length are right.
#[derive(Debug)]
pub struct CheckedTensor {
    images: usize,
    values: TensorValues,
}

/// Values by datatype and by the field that carries them.
#[derive(Debug)]
enum TensorValues {
    RawFp32(Bytes),
    RawUint8(Bytes),
    Fp32(Vec<f32>),
    Uint8(Vec<u32>),
}

/// The only tensor of a request.
pub fn tensor(inputs: Vec<InferInputTensor>, raw: Vec<Bytes>) -> Result<InputTensor, FieldError> {
    let count = inputs.len();
    let Ok([input]) = <[InferInputTensor; 1]>::try_from(inputs) else {
        let message = format!("has {count} tensors: send one, {INPUT:?}, with all images");
        return Err(FieldError::new("inputs", message));
    };
    if input.name != INPUT {
        let message = format!("is {}: the model reads {INPUT:?}", quoted(&input.name));
        return Err(FieldError::new("inputs[0].name", message));
    }
    if input.parameters.contains_key("shared_memory_region") {
        let message = "names shared memory, which is not served: send the values in the request";
        return Err(FieldError::new("inputs[0].parameters", message));
    }
    let contents = input.contents.unwrap_or_default();
    let values = match (input.datatype.as_str(), raw_values(raw, &contents)?) {
        ("FP32", Some(bytes)) => TensorValues::RawFp32(bytes),
        ("UINT8", Some(bytes)) => TensorValues::RawUint8(bytes),
        ("FP32", None) => {
            reject_other_contents(&contents, "fp32_contents", "FP32")?;
            TensorValues::Fp32(contents.fp32_contents)
        }
        ("UINT8", None) => {
            reject_other_contents(&contents, "uint_contents", "UINT8")?;
            TensorValues::Uint8(contents.uint_contents)
        }
        (other, _) => {
            let message = format!("is {}: use FP32 (0 to 1) or UINT8 (0 to 255)", quoted(other));
            return Err(FieldError::new("inputs[0].datatype", message));
        }
    };
    Ok(InputTensor { shape: input.shape, values })
}

/// The raw values, if the request has any.
fn raw_values(raw: Vec<Bytes>, contents: &InferTensorContents) -> Result<Option<Bytes>, FieldError> {
    let count = raw.len();
    if count > 1 {
        let message = format!("has {count} entries: send one for each input, of which there is one");
        return Err(FieldError::new("raw_input_contents", message));
    }
    if count == 1 && lengths(contents).iter().any(|(_, length)| *length > 0) {
        let message = "is given beside raw_input_contents: use the one or the other";
        return Err(FieldError::new("inputs[0].contents", message));
    }
    Ok(raw.into_iter().next())
}

/// Rejects values in a field of another datatype.
fn reject_other_contents(
    contents: &InferTensorContents,
    own: &str,
    datatype: &str,
) -> Result<(), FieldError> {
    let stray = lengths(contents).into_iter().find(|(name, length)| *name != own && *length > 0);
    match stray {
        None => Ok(()),
        Some((name, _)) => {
            let message = format!("does not hold {datatype}: use {own}");
            Err(FieldError::new(format!("inputs[0].contents.{name}"), message))
        }
    }
}

fn lengths(contents: &InferTensorContents) -> [(&'static str, usize); 8] {
    [
        ("bool_contents", contents.bool_contents.len()),
        ("int_contents", contents.int_contents.len()),
        ("int64_contents", contents.int64_contents.len()),
        ("uint_contents", contents.uint_contents.len()),
        ("uint64_contents", contents.uint64_contents.len()),
        ("fp32_contents", contents.fp32_contents.len()),
        ("fp64_contents", contents.fp64_contents.len()),
        ("bytes_contents", contents.bytes_contents.len()),
    ]
}

impl InputTensor {
    /// Checks the shape for images of this size, and the number of values.
    pub fn check(self, frame: ImageSize) -> Result<CheckedTensor, FieldError> {
        let Self { shape, values } = self;
        let Some(images) = images(&shape, frame) else {
            let (ImageSize { height, width }, area) = (frame, frame.area());
            let message = format!(
                "is {}: use [N, 1, {height}, {width}], [N, {height}, {width}] or [N, {area}] with N from 1 to \
                 {MAX_IMAGES_PER_CALL}",
                format_shape(&shape)
            );
            return Err(FieldError::new("inputs[0].shape", message));
        };
        let (field, unit, actual, each) = match &values {
            TensorValues::RawFp32(bytes) => ("raw_input_contents[0]", "bytes", bytes.len(), size_of::<f32>()),
            TensorValues::RawUint8(bytes) => ("raw_input_contents[0]", "bytes", bytes.len(), 1),
            TensorValues::Fp32(values) => ("inputs[0].contents.fp32_contents", "values", values.len(), 1),
            TensorValues::Uint8(values) => ("inputs[0].contents.uint_contents", "values", values.len(), 1),
        };
        let expected = images * frame.area() * each;
        if actual != expected {
            let (datatype, shape) = (values.datatype(), format_shape(&shape));
            let message = format!("has {actual} {unit}: {datatype} of shape {shape} has {expected}");
            return Err(FieldError::new(field, message));
        }
        Ok(CheckedTensor { images, values })
    }
}

impl TensorValues {
    fn datatype(&self) -> &'static str {
        match self {
            Self::RawFp32(_) | Self::Fp32(_) => "FP32",
            Self::RawUint8(_) | Self::Uint8(_) => "UINT8",
        }
    }
}

impl CheckedTensor {
    pub fn cost(&self) -> Cost {
        // Raw bytes are valid images, whatever their values.
        let ready = matches!(self.values, TensorValues::RawUint8(_));
        if ready || self.images <= MAX_INLINE_IMAGES { Cost::Inline } else { Cost::Offload }
    }

    /// The images, without a copy if the values are raw. Errors name the first value out of range.
    pub fn read(self) -> Result<ImageBatch, FieldError> {
        match self.values {
            TensorValues::RawUint8(bytes) => Ok(ImageBatch::Bytes(bytes)),
            TensorValues::RawFp32(bytes) => {
                let values = bytes.as_chunks().0.iter().copied().map(f32::from_le_bytes);
                check_range("raw_input_contents[0]", values)?;
                Ok(ImageBatch::FloatBytes(bytes))
            }
            TensorValues::Fp32(values) => {
                check_range("inputs[0].contents.fp32_contents", values.iter().copied())?;
                Ok(ImageBatch::Floats(values))
            }
            TensorValues::Uint8(values) => {
                let narrow = |(at, &value): (usize, &u32)| {
                    u8::try_from(value).map_err(|_| {
                        let field = format!("inputs[0].contents.uint_contents[{at}]");
                        FieldError::new(field, format!("is {value}: use 0 (background) to 255 (ink)"))
                    })
                };
                let bytes = values.iter().enumerate().map(narrow).collect::<Result<Vec<u8>, _>>()?;
                Ok(ImageBatch::Bytes(bytes.into()))
            }
        }
    }
}

/// N of a shape of images of this size.
fn images(shape: &[i64], frame: ImageSize) -> Option<usize> {
    let is = |given: i64, length: usize| usize::try_from(given) == Ok(length);
    let count = match *shape {
        [count, 1, height, width] | [count, height, width]
            if is(height, frame.height) && is(width, frame.width) =>
        {
            count
        }
        [count, area] if is(area, frame.area()) => count,
        _ => return None,
    };
    usize::try_from(count).ok().filter(|count| (1..=MAX_IMAGES_PER_CALL).contains(count))
}

/// A shape for a message; the beginning of it if it is long.
fn format_shape(shape: &[i64]) -> String {
    match shape.get(..8) {
        Some(beginning) if shape.len() > 8 => {
            format!("{beginning:?} and {} dimensions more", shape.len() - 8)
        }
        Some(_) | None => format!("{shape:?}"),
    }
}

fn check_range(field: &str, values: impl Iterator<Item = f32> + Clone) -> Result<(), FieldError> {
    // All values are compared before one is looked for, because a loop without an early exit is vectorised.
    // NaN is in no range.
    if values.clone().fold(true, |fine, value| fine & (0.0..=1.0).contains(&value)) {
        return Ok(());
    }
    match values.enumerate().find(|(_, value)| !(0.0..=1.0).contains(value)) {
        None => Ok(()),
        Some((at, value)) => {
            Err(FieldError::new(field, format!("has {value} at {at}: use 0 (background) to 1 (ink)")))
        }
    }
}

#[cfg(test)]
mod tests;
