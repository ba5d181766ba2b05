//! Tests of every form of the input, and of hostile ones.

use super::*;
use crate::pb::inference::{InferParameter, infer_parameter::ParameterChoice};

fn input(datatype: &str, shape: &[i64]) -> InferInputTensor {
    InferInputTensor {
        name: INPUT.to_owned(),
        datatype: datatype.to_owned(),
        shape: shape.to_vec(),
        ..InferInputTensor::default()
    }
}

fn read(input: InferInputTensor, raw: &[Vec<u8>]) -> Result<ImageBatch, FieldError> {
    let raw = raw.iter().map(|bytes| Bytes::copy_from_slice(bytes)).collect();
    tensor(vec![input], raw)?.check(ImageSize::MNIST)?.read()
}

fn typed(datatype: &str, contents: InferTensorContents) -> Result<ImageBatch, FieldError> {
    read(InferInputTensor { contents: Some(contents), ..input(datatype, &[1, 1, 28, 28]) }, &[])
}

fn fp32(values: Vec<f32>) -> InferTensorContents {
    InferTensorContents { fp32_contents: values, ..InferTensorContents::default() }
}

fn uint(values: Vec<u32>) -> InferTensorContents {
    InferTensorContents { uint_contents: values, ..InferTensorContents::default() }
}

/// A ramp as bytes and as floats.
fn ramp() -> (Vec<u8>, Vec<f32>) {
    let bytes: Vec<u8> = (0..784).map(|index| (index % 256) as u8).collect();
    let floats = bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect();
    (bytes, floats)
}

#[test]
fn every_shape_type_and_encoding_decodes_alike() {
    let (bytes, floats) = ramp();
    let wide: Vec<u8> = floats.iter().flat_map(|value| value.to_le_bytes()).collect();
    for shape in [&[1, 1, 28, 28][..], &[1, 28, 28], &[1, 784]] {
        for (datatype, raw) in [("UINT8", bytes.clone()), ("FP32", wide.clone())] {
            assert_eq!(read(input(datatype, shape), &[raw]).unwrap().into_values(), floats);
        }
    }
    assert_eq!(typed("FP32", fp32(floats.clone())).unwrap().into_values(), floats);
    let wide = bytes.iter().map(|&byte| u32::from(byte)).collect();
    assert_eq!(typed("UINT8", uint(wide)).unwrap().into_values(), floats);
}

#[test]
fn raw_values_are_not_copied() {
    for (datatype, length) in [("UINT8", 784), ("FP32", 3136)] {
        let raw = Bytes::from(vec![0; length]);
        let checked = tensor(vec![input(datatype, &[1, 784])], vec![raw.clone()]).unwrap();
        let (ImageBatch::Bytes(bytes) | ImageBatch::FloatBytes(bytes)) =
            checked.check(ImageSize::MNIST).unwrap().read().unwrap()
        else {
            panic!("raw values stay bytes")
        };
        assert_eq!(bytes.as_ptr(), raw.as_ptr());
    }
}

#[test]
fn a_wrong_input_is_rejected_with_what_was_expected() {
    let rejected = |input, raw: &[Vec<u8>]| read(input, raw).unwrap_err().to_string();
    let image = || vec![vec![0; 784]];
    let message = rejected(InferInputTensor { name: "x".to_owned(), ..input("UINT8", &[1, 784]) }, &image());
    assert_eq!(message, r#"inputs[0].name is "x": the model reads "input""#);
    let message = rejected(input("INT64", &[1, 784]), &image());
    assert_eq!(message, r#"inputs[0].datatype is "INT64": use FP32 (0 to 1) or UINT8 (0 to 255)"#);
    let message = rejected(input("UINT8", &[1, 3, 28, 28]), &image());
    let expected = "use [N, 1, 28, 28], [N, 28, 28] or [N, 784] with N from 1 to 16384";
    assert_eq!(message, format!("inputs[0].shape is [1, 3, 28, 28]: {expected}"));
    let message = rejected(input("FP32", &[2, 784]), &image());
    assert_eq!(message, "raw_input_contents[0] has 784 bytes: FP32 of shape [2, 784] has 6272");
    let message = typed("FP32", fp32(vec![0.0; 783])).unwrap_err().to_string();
    let place = "inputs[0].contents.fp32_contents";
    assert_eq!(message, format!("{place} has 783 values: FP32 of shape [1, 1, 28, 28] has 784"));
    for inputs in [vec![], vec![input("UINT8", &[1, 784]); 2]] {
        assert_eq!(tensor(inputs, vec![]).unwrap_err().field, "inputs");
    }
}

#[test]
fn values_are_in_exactly_one_field_that_of_their_type() {
    let both = InferInputTensor { contents: Some(uint(vec![0; 784])), ..input("UINT8", &[1, 784]) };
    assert_eq!(read(both, &[vec![0; 784]]).unwrap_err().field, "inputs[0].contents");
    let two = read(input("UINT8", &[1, 784]), &[vec![0; 784], vec![]]);
    assert_eq!(two.unwrap_err().field, "raw_input_contents");
    let stray = typed("FP32", uint(vec![0; 784])).unwrap_err();
    assert_eq!(stray.to_string(), "inputs[0].contents.uint_contents does not hold FP32: use fp32_contents");
    let nothing = typed("UINT8", InferTensorContents::default()).unwrap_err();
    assert_eq!(nothing.field, "inputs[0].contents.uint_contents");
    let region = ParameterChoice::StringParam("r".to_owned());
    let parameters =
        [("shared_memory_region".to_owned(), InferParameter { parameter_choice: Some(region) })].into();
    let shared = InferInputTensor { parameters, ..input("UINT8", &[1, 784]) };
    assert_eq!(read(shared, &[]).unwrap_err().field, "inputs[0].parameters");
}

#[test]
fn values_out_of_range_are_named_by_their_index() {
    for bad in [f32::NAN, -0.001, 1.001, f32::INFINITY] {
        let mut values = vec![0.5; 784];
        values[700] = bad;
        let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let message = read(input("FP32", &[1, 784]), &[raw]).unwrap_err().to_string();
        assert_eq!(message, format!("raw_input_contents[0] has {bad} at 700: use 0 (background) to 1 (ink)"));
        assert_eq!(typed("FP32", fp32(values)).unwrap_err().field, "inputs[0].contents.fp32_contents");
    }
    let mut values = vec![255; 784];
    values[3] = 256;
    assert_eq!(typed("UINT8", uint(values)).unwrap_err().field, "inputs[0].contents.uint_contents[3]");
}

#[test]
fn hostile_shapes_are_rejected() {
    let huge = i64::MAX;
    for shape in [
        &[][..],
        &[0, 784],
        &[-1, 784],
        &[16_385, 784],
        &[huge, huge, huge, huge],
        &[huge, 784],
        &[i64::MIN, 28, 28],
        &[1 << 32, 1, 28, 28],
        &[1, -28, -28],
        &[28, 28],
        &[1, 1, 1, 28, 28],
        &[7; 10_000],
    ] {
        let rejected = read(input("UINT8", shape), &[vec![0; 784]]).unwrap_err();
        assert_eq!(rejected.field, "inputs[0].shape");
        assert!(rejected.message.len() < 300, "{rejected}");
    }
}

#[test]
fn only_work_on_many_images_is_offloaded_to_a_thread() {
    let cost = |datatype: &str, images: usize, each: usize| {
        let input = input(datatype, &[images as i64, 784]);
        let raw = vec![Bytes::from(vec![0; images * 784 * each])];
        tensor(vec![input], raw).unwrap().check(ImageSize::MNIST).unwrap().cost()
    };
    assert_eq!(cost("FP32", 64, 4), Cost::Inline);
    assert_eq!(cost("FP32", 65, 4), Cost::Offload);
    assert_eq!(cost("UINT8", 16_384, 1), Cost::Inline);
}
