//! Tests of images in every form, and of hostile ones.

use bytes::Bytes;

use super::{input::MAX_ENCODED, *};
use crate::{
    data::{
        ImageSize,
        image::{self, Normalization, Quality},
    },
    engine::ImageBatch,
    ids::FieldError,
    pb::digitd::v1::{self, image::Form},
};

const SIDE: usize = 28;
const AREA: usize = SIDE * SIDE;
const MNIST: InputSpec =
    InputSpec { frame: ImageSize::MNIST, encoded: Normalization::Auto, detects_blank: true };

const INK: [u8; AREA] = [7; AREA];

fn pixels(bytes: &[u8]) -> v1::Image {
    v1::Image { form: Some(Form::Pixels(Bytes::copy_from_slice(bytes))) }
}

fn floats(values: Vec<f32>) -> v1::Image {
    v1::Image { form: Some(Form::Floats(v1::FloatPixels { values })) }
}

fn encoded(bytes: &[u8]) -> v1::Image {
    v1::Image { form: Some(Form::Encoded(Bytes::copy_from_slice(bytes))) }
}

/// A bright bar on a dark background.
fn bar() -> Vec<u8> {
    (0..AREA).map(|at| if (12..16).contains(&(at % SIDE)) { 255 } else { 0 }).collect()
}

fn decode(inputs: ImageInputs) -> Result<DecodedImages, FieldError> {
    match check(inputs, MNIST)? {
        CheckedImages::Ready(decoded) => Ok(decoded),
        CheckedImages::Encoded(pending) => Ok(pending.read(|| false)?.expect("nobody stops it")),
    }
}

fn read(images: Vec<v1::Image>, batch: &[u8], how: v1::Normalization) -> Result<ImageBatch, FieldError> {
    let batch = Bytes::copy_from_slice(batch);
    Ok(decode(ImageInputs { images, batch, normalization: how.into(), return_pngs: false })?.images)
}

fn bytes(images: ImageBatch) -> Bytes {
    match images {
        ImageBatch::Bytes(bytes) => bytes,
        ImageBatch::Floats(_) | ImageBatch::FloatBytes(_) => panic!("numbers"),
    }
}

fn field(images: Vec<v1::Image>, batch: &[u8]) -> String {
    read(images, batch, v1::Normalization::Unspecified).unwrap_err().field
}

#[test]
fn one_image_of_pixels_and_a_batch_are_read_without_a_copy() {
    let pixels = Bytes::from(vec![7; AREA]);
    let image = v1::Image { form: Some(Form::Pixels(pixels.clone())) };
    let CheckedImages::Ready(one) =
        check(ImageInputs { images: vec![image], ..ImageInputs::default() }, MNIST).unwrap()
    else {
        panic!("nothing to read")
    };
    assert_eq!(bytes(one.images).as_ptr(), pixels.as_ptr());
    let CheckedImages::Ready(batch) =
        check(ImageInputs { batch: pixels.clone(), normalization: 1, ..ImageInputs::default() }, MNIST)
            .unwrap()
    else {
        panic!("nothing to read")
    };
    assert_eq!(bytes(batch.images).as_ptr(), pixels.as_ptr());
}

#[test]
fn images_keep_their_order_and_the_batch_comes_last() {
    let (one, two) = ([1; AREA], [2; AREA]);
    let read = bytes(read(vec![pixels(&one), pixels(&two)], &INK, v1::Normalization::None).unwrap());
    assert_eq!(read, [one, two, INK].concat());
}

#[test]
fn one_image_of_floats_makes_the_batch_float() {
    let values = vec![0.5; AREA];
    let read = read(vec![pixels(&[255; AREA]), floats(values)], &[0; AREA], v1::Normalization::Unspecified);
    let ImageBatch::Floats(values) = read.unwrap() else { panic!("numbers") };
    assert_eq!((values.len(), values[0], values[AREA], values[2 * AREA]), (3 * AREA, 1.0, 0.5, 0.0));
}

#[test]
fn a_png_is_decoded_and_normalised_as_its_pixels_would_be() {
    let png = image::to_png(&bar(), SIDE, SIDE);
    let auto = |image| bytes(read(vec![image], &[], v1::Normalization::Auto).unwrap());
    assert_eq!(auto(encoded(&png)), auto(pixels(&bar())));
    let unasked = read(vec![encoded(&png)], &[], v1::Normalization::Unspecified).unwrap();
    assert_eq!(bytes(unasked), auto(pixels(&bar())));
    let untouched = read(vec![encoded(&png)], &[], v1::Normalization::None).unwrap();
    assert_eq!(bytes(untouched), bar());
}

#[test]
fn numbers_are_normalised_as_their_pixels_would_be() {
    let values = bar().iter().map(|&byte| f32::from(byte) / 255.0).collect();
    let center = |images, batch: &[u8]| bytes(read(images, batch, v1::Normalization::Center).unwrap());
    assert_eq!(center(vec![floats(values)], &[]), center(vec![pixels(&bar())], &[]));
    assert_eq!(center(Vec::new(), &bar()), center(vec![pixels(&bar())], &[]));
}

#[test]
fn a_call_without_images_is_rejected() {
    assert_eq!(field(Vec::new(), &[]), "images");
    assert_eq!(field(vec![v1::Image { form: None }], &[]), "images[0]");
}

#[test]
fn images_of_the_wrong_size_are_named() {
    assert_eq!(field(vec![pixels(&INK), pixels(&INK[1..])], &[]), "images[1].pixels");
    assert_eq!(field(vec![floats(vec![0.0; 3])], &[]), "images[0].floats.values");
    assert_eq!(field(Vec::new(), &INK[1..]), "pixel_batch");
}

#[test]
fn more_images_than_a_call_may_have_are_rejected() {
    let batch = vec![0; (MAX_IMAGES_PER_CALL + 1) * AREA];
    assert_eq!(field(Vec::new(), &batch), "images");
    assert_eq!(field(vec![encoded(b"x"); MAX_ENCODED + 1], &[]), "images");
}

#[test]
fn numbers_outside_zero_to_one_are_named_with_their_index() {
    for bad in [f32::NAN, f32::INFINITY, -0.1, 1.1] {
        let mut values = vec![0.0; AREA];
        values[5] = bad;
        assert_eq!(field(vec![floats(values)], &[]), "images[0].floats.values[5]");
    }
}

#[test]
fn a_file_that_is_no_image_is_named_with_its_index() {
    let images = vec![pixels(&INK), encoded(b"hello")];
    let error = read(images, &[], v1::Normalization::Unspecified).unwrap_err();
    assert_eq!(error.field, "images[1].encoded");
    assert!(error.message.contains("PNG"), "{error}");
}

#[test]
fn an_unknown_normalization_is_rejected() {
    assert_eq!(
        check(ImageInputs { images: vec![pixels(&INK)], normalization: 9, ..ImageInputs::default() }, MNIST)
            .unwrap_err()
            .field,
        "normalization"
    );
}

#[test]
fn decoding_stops_without_a_caller() {
    let CheckedImages::Encoded(pending) =
        check(ImageInputs { images: vec![pixels(&INK); 2], ..ImageInputs::default() }, MNIST).unwrap()
    else {
        panic!("two images are copied together")
    };
    assert!(pending.is_inline());
    assert!(pending.read(|| true).unwrap().is_none());
}

#[test]
fn a_version_of_another_size_reports_it_and_scales_encoded_images_to_it() {
    let spec = InputSpec {
        frame: ImageSize { height: 2, width: 3 },
        encoded: Normalization::Scale,
        detects_blank: false,
    };
    let of = |image| check(ImageInputs { images: vec![image], ..ImageInputs::default() }, spec);
    let error = of(pixels(&INK)).unwrap_err();
    assert_eq!(error.message, "has 784 bytes: an image of 2 x 3 has 6");
    let error = check(ImageInputs { batch: vec![0; 7].into(), ..ImageInputs::default() }, spec).unwrap_err();
    assert_eq!((error.field.as_str(), error.message.contains("6 (2 x 3)")), ("pixel_batch", true));
    let png = image::to_png(&[9, 9, 8, 8, 7, 7, 9, 9, 8, 8, 7, 7], 6, 2);
    let CheckedImages::Encoded(pending) = of(encoded(&png)).unwrap() else { panic!("a file has to be read") };
    assert_eq!(bytes(pending.read(|| false).unwrap().unwrap().images), [9, 8, 7, 9, 8, 7][..]);
}

#[test]
fn the_quality_of_every_image_is_assessed_at_every_index() {
    let images = vec![pixels(&[0; AREA]), floats(vec![0.25; AREA]), pixels(&bar())];
    let batch = Bytes::from([[0; AREA].to_vec(), bar()].concat());
    let known = [Quality::Blank, Quality::Blank, Quality::Good, Quality::Blank, Quality::Good].map(Some);
    for normalization in [v1::Normalization::None, v1::Normalization::Auto] {
        let (images, batch, normalization) = (images.clone(), batch.clone(), normalization.into());
        let decoded = decode(ImageInputs { images, batch, normalization, return_pngs: false }).unwrap();
        assert_eq!(decoded.qualities, known);
        assert!(decoded.pngs.is_empty());
    }
    let alone = ImageInputs { images: vec![pixels(&[3; AREA])], ..ImageInputs::default() };
    assert_eq!(decode(alone).unwrap().qualities, [Some(Quality::Blank)]);
}

#[test]
fn the_network_input_is_returned_as_png_on_request() {
    let images = vec![pixels(&bar()), encoded(&image::to_png(&bar(), SIDE, SIDE))];
    let decoded =
        decode(ImageInputs { images, batch: INK.to_vec().into(), normalization: 0, return_pngs: true })
            .unwrap();
    assert_eq!(decoded.pngs.len(), 3);
    let drawn: Vec<u8> = decoded
        .pngs
        .iter()
        .flat_map(|png| image::decode(png, image::Grayscale::Luma).unwrap().pixels)
        .collect();
    assert_eq!(drawn, bytes(decoded.images));
}

#[test]
fn blank_images_of_a_custom_data_set_are_not_assessed() {
    let spec = InputSpec { encoded: Normalization::Scale, detects_blank: false, ..MNIST };
    let given = ImageInputs { batch: vec![0; AREA].into(), ..ImageInputs::default() };
    let CheckedImages::Ready(decoded) = check(given, spec).unwrap() else { panic!("nothing to read") };
    assert_eq!(decoded.qualities, [None]);
}

#[test]
fn a_blank_image_is_not_analysed() {
    let image = encoded(&image::to_png(&[200; AREA], SIDE, SIDE));
    let CheckedImages::Encoded(pending) = check_one(image, 0, MNIST).unwrap() else {
        panic!("a file is read")
    };
    let error = pending.read(|| false).unwrap_err();
    assert_eq!((&*error.field, error.message.starts_with("is blank")), ("image.encoded", true));
}

#[test]
fn encoded_images_that_decode_to_too_much_are_rejected_by_their_index() {
    let png = image::to_png(&vec![0; 4096 * 4096], 4096, 4096);
    let largest = |count: usize| {
        let images = vec![encoded(&png); count];
        read(images, &[], v1::Normalization::Scale)
    };
    largest(8).unwrap();
    let rejected = largest(9).unwrap_err();
    assert_eq!(rejected.field, "images[8].encoded");
    assert!(rejected.message.contains("at most 134217728"), "{}", rejected.message);
}
