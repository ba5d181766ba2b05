//! The input tensor → pictures. Its form is checked as it comes, its shape and length for the size that
//! the version reads, its values last: those of many pictures take long.

use bytes::Bytes;

use super::{INPUT, quoted};
use crate::{
    data::Frame,
    engine::Pictures,
    pb::inference::{InferTensorContents, model_infer_request::InferInputTensor},
    server::{
        convert::{
            Invalid,
            picture::{FEW, MOST_PICTURES},
        },
        reader::Weight,
    },
};

/// The input before it is known for whom.
#[derive(Debug)]
pub struct Tensor {
    shape: Vec<i64>,
    values: Values,
}

/// The input of a request whose shape and length are right.
#[derive(Debug)]
pub struct Checked {
    images: usize,
    values: Values,
}

/// Values by datatype and by where they are.
#[derive(Debug)]
enum Values {
    RawFp32(Bytes),
    RawUint8(Bytes),
    Fp32(Vec<f32>),
    Uint8(Vec<u32>),
}

/// The tensor of a request that must have one.
pub fn tensor(inputs: Vec<InferInputTensor>, raw: Vec<Bytes>) -> Result<Tensor, Invalid> {
    let count = inputs.len();
    let Ok([input]) = <[InferInputTensor; 1]>::try_from(inputs) else {
        let message = format!("has {count} tensors: send one, {INPUT:?}, with all pictures");
        return Err(Invalid::new("inputs", message));
    };
    if input.name != INPUT {
        let message = format!("is {}: the model reads {INPUT:?}", quoted(&input.name));
        return Err(Invalid::new("inputs[0].name", message));
    }
    if input.parameters.contains_key("shared_memory_region") {
        let message = "names shared memory, which is not served: send the values in the request";
        return Err(Invalid::new("inputs[0].parameters", message));
    }
    let contents = input.contents.unwrap_or_default();
    let values = match (input.datatype.as_str(), one(raw, &contents)?) {
        ("FP32", Some(bytes)) => Values::RawFp32(bytes),
        ("UINT8", Some(bytes)) => Values::RawUint8(bytes),
        ("FP32", None) => {
            alone(&contents, "fp32_contents", "FP32")?;
            Values::Fp32(contents.fp32_contents)
        }
        ("UINT8", None) => {
            alone(&contents, "uint_contents", "UINT8")?;
            Values::Uint8(contents.uint_contents)
        }
        (other, _) => {
            let message = format!("is {}: use FP32 (0 to 1) or UINT8 (0 to 255)", quoted(other));
            return Err(Invalid::new("inputs[0].datatype", message));
        }
    };
    Ok(Tensor { shape: input.shape, values })
}

/// The raw values, where the request has any.
fn one(raw: Vec<Bytes>, contents: &InferTensorContents) -> Result<Option<Bytes>, Invalid> {
    let count = raw.len();
    if count > 1 {
        let message = format!("has {count} entries: send one for each input, of which there is one");
        return Err(Invalid::new("raw_input_contents", message));
    }
    if count == 1 && lengths(contents).iter().any(|(_, length)| *length > 0) {
        let message = "is given beside raw_input_contents: use the one or the other";
        return Err(Invalid::new("inputs[0].contents", message));
    }
    Ok(raw.into_iter().next())
}

/// Checks that values are given in no other field than that of their datatype.
fn alone(contents: &InferTensorContents, own: &str, datatype: &str) -> Result<(), Invalid> {
    let stray = lengths(contents).into_iter().find(|(name, length)| *name != own && *length > 0);
    match stray {
        None => Ok(()),
        Some((name, _)) => {
            let message = format!("does not hold {datatype}: use {own}");
            Err(Invalid::new(format!("inputs[0].contents.{name}"), message))
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

impl Tensor {
    /// Checks the shape for pictures of this size, and that there are as many values as it says.
    pub fn check(self, frame: Frame) -> Result<Checked, Invalid> {
        let Self { shape, values } = self;
        let Some(images) = images(&shape, frame) else {
            let (Frame { height, width }, area) = (frame, frame.area());
            let message = format!(
                "is {}: use [N, 1, {height}, {width}], [N, {height}, {width}] or [N, {area}] with N from 1 to \
                 {MOST_PICTURES}",
                shown(&shape)
            );
            return Err(Invalid::new("inputs[0].shape", message));
        };
        let (field, unit, given, each) = match &values {
            Values::RawFp32(bytes) => ("raw_input_contents[0]", "bytes", bytes.len(), size_of::<f32>()),
            Values::RawUint8(bytes) => ("raw_input_contents[0]", "bytes", bytes.len(), 1),
            Values::Fp32(values) => ("inputs[0].contents.fp32_contents", "values", values.len(), 1),
            Values::Uint8(values) => ("inputs[0].contents.uint_contents", "values", values.len(), 1),
        };
        let wanted = images * frame.area() * each;
        if given != wanted {
            let (datatype, shape) = (values.datatype(), shown(&shape));
            let message = format!("has {given} {unit}: {datatype} of shape {shape} has {wanted}");
            return Err(Invalid::new(field, message));
        }
        Ok(Checked { images, values })
    }
}

impl Values {
    fn datatype(&self) -> &'static str {
        match self {
            Self::RawFp32(_) | Self::Fp32(_) => "FP32",
            Self::RawUint8(_) | Self::Uint8(_) => "UINT8",
        }
    }
}

impl Checked {
    pub fn weight(&self) -> Weight {
        // Raw bytes are pictures, whatever their values.
        let ready = matches!(self.values, Values::RawUint8(_));
        if ready || self.images <= FEW { Weight::Light } else { Weight::Heavy }
    }

    /// The pictures, without a copy where the values are raw. Errors name the first value that is none.
    pub fn read(self) -> Result<Pictures, Invalid> {
        match self.values {
            Values::RawUint8(bytes) => Ok(Pictures::Bytes(bytes)),
            Values::RawFp32(bytes) => {
                let values = bytes.as_chunks().0.iter().copied().map(f32::from_le_bytes);
                check_range("raw_input_contents[0]", values)?;
                Ok(Pictures::FloatBytes(bytes))
            }
            Values::Fp32(values) => {
                check_range("inputs[0].contents.fp32_contents", values.iter().copied())?;
                Ok(Pictures::Floats(values))
            }
            Values::Uint8(values) => {
                let narrow = |(at, &value): (usize, &u32)| {
                    u8::try_from(value).map_err(|_| {
                        let field = format!("inputs[0].contents.uint_contents[{at}]");
                        Invalid::new(field, format!("is {value}: use 0 (background) to 255 (ink)"))
                    })
                };
                let bytes = values.iter().enumerate().map(narrow).collect::<Result<Vec<u8>, _>>()?;
                Ok(Pictures::Bytes(bytes.into()))
            }
        }
    }
}

/// N of a shape that holds pictures of this size.
fn images(shape: &[i64], frame: Frame) -> Option<usize> {
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
    usize::try_from(count).ok().filter(|count| (1..=MOST_PICTURES).contains(count))
}

/// A shape, or the beginning of a hostile one.
fn shown(shape: &[i64]) -> String {
    match shape.get(..8) {
        Some(beginning) if shape.len() > 8 => {
            format!("{beginning:?} and {} dimensions more", shape.len() - 8)
        }
        Some(_) | None => format!("{shape:?}"),
    }
}

fn check_range(field: &str, values: impl Iterator<Item = f32> + Clone) -> Result<(), Invalid> {
    // All of them before looking for one: without a way out of the loop it takes many at once. NaN is
    // in no range.
    if values.clone().fold(true, |fine, value| fine & (0.0..=1.0).contains(&value)) {
        return Ok(());
    }
    match values.enumerate().find(|(_, value)| !(0.0..=1.0).contains(value)) {
        None => Ok(()),
        Some((at, value)) => {
            Err(Invalid::new(field, format!("has {value} at {at}: use 0 (background) to 1 (ink)")))
        }
    }
}

#[cfg(test)]
mod tests;
