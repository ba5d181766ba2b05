//! Pictures of every form, and hostile ones.

use super::*;
use crate::data::image;

const SIDE: usize = 28;
const AREA: usize = SIDE * SIDE;
const MNIST: Reads = Reads { frame: Frame::MNIST, encoded: Normalization::Auto, knows_blank: true };

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

/// A bright bar on a dark ground.
fn bar() -> Vec<u8> {
    (0..AREA).map(|at| if (12..16).contains(&(at % SIDE)) { 255 } else { 0 }).collect()
}

fn seen(given: Given) -> Result<Seen, Invalid> {
    match check(given, MNIST)? {
        Checked::Ready(seen) => Ok(seen),
        Checked::Unread(unread) => Ok(unread.read(|| false)?.expect("nobody stops it")),
    }
}

fn read(images: Vec<v1::Image>, batch: &[u8], how: v1::Normalization) -> Result<Pictures, Invalid> {
    let batch = Bytes::copy_from_slice(batch);
    Ok(seen(Given { images, batch, normalization: how.into(), pngs: false })?.pictures)
}

fn bytes(pictures: Pictures) -> Bytes {
    match pictures {
        Pictures::Bytes(bytes) => bytes,
        Pictures::Floats(_) | Pictures::FloatBytes(_) => panic!("numbers"),
    }
}

fn field(images: Vec<v1::Image>, batch: &[u8]) -> String {
    read(images, batch, v1::Normalization::Unspecified).unwrap_err().field
}

#[test]
fn one_picture_of_pixels_and_a_batch_are_taken_without_a_copy() {
    let given = Bytes::from(vec![7; AREA]);
    let image = v1::Image { form: Some(Form::Pixels(given.clone())) };
    let Checked::Ready(one) = check(Given { images: vec![image], ..Given::default() }, MNIST).unwrap() else {
        panic!("nothing to read")
    };
    assert_eq!(bytes(one.pictures).as_ptr(), given.as_ptr());
    let Checked::Ready(batch) =
        check(Given { batch: given.clone(), normalization: 1, ..Given::default() }, MNIST).unwrap()
    else {
        panic!("nothing to read")
    };
    assert_eq!(bytes(batch.pictures).as_ptr(), given.as_ptr());
}

#[test]
fn pictures_keep_their_order_and_the_batch_comes_last() {
    let (one, two) = ([1; AREA], [2; AREA]);
    let read = bytes(read(vec![pixels(&one), pixels(&two)], &INK, v1::Normalization::None).unwrap());
    assert_eq!(read, [one, two, INK].concat());
}

#[test]
fn one_picture_of_numbers_makes_all_numbers() {
    let values = vec![0.5; AREA];
    let read = read(vec![pixels(&[255; AREA]), floats(values)], &[0; AREA], v1::Normalization::Unspecified);
    let Pictures::Floats(values) = read.unwrap() else { panic!("numbers") };
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
fn a_call_without_pictures_is_refused() {
    assert_eq!(field(Vec::new(), &[]), "images");
    assert_eq!(field(vec![v1::Image { form: None }], &[]), "images[0]");
}

#[test]
fn pictures_of_the_wrong_size_are_named() {
    assert_eq!(field(vec![pixels(&INK), pixels(&INK[1..])], &[]), "images[1].pixels");
    assert_eq!(field(vec![floats(vec![0.0; 3])], &[]), "images[0].floats.values");
    assert_eq!(field(Vec::new(), &INK[1..]), "pixel_batch");
}

#[test]
fn more_pictures_than_a_call_may_have_are_refused() {
    let batch = vec![0; (MOST_PICTURES + 1) * AREA];
    assert_eq!(field(Vec::new(), &batch), "images");
    assert_eq!(field(vec![encoded(b"x"); MOST_ENCODED + 1], &[]), "images");
}

#[test]
fn numbers_outside_zero_to_one_are_named_with_their_place() {
    for bad in [f32::NAN, f32::INFINITY, -0.1, 1.1] {
        let mut values = vec![0.0; AREA];
        values[5] = bad;
        assert_eq!(field(vec![floats(values)], &[]), "images[0].floats.values[5]");
    }
}

#[test]
fn a_file_that_is_no_picture_is_named_with_its_place() {
    let images = vec![pixels(&INK), encoded(b"hello")];
    let error = read(images, &[], v1::Normalization::Unspecified).unwrap_err();
    assert_eq!(error.field, "images[1].encoded");
    assert!(error.message.contains("PNG"), "{error}");
}

#[test]
fn an_unknown_normalization_is_refused() {
    assert_eq!(
        check(Given { images: vec![pixels(&INK)], normalization: 9, ..Given::default() }, MNIST)
            .unwrap_err()
            .field,
        "normalization"
    );
}

#[test]
fn reading_stops_when_nobody_waits() {
    let Checked::Unread(unread) =
        check(Given { images: vec![pixels(&INK); 2], ..Given::default() }, MNIST).unwrap()
    else {
        panic!("two pictures are copied together")
    };
    assert!(unread.is_light());
    assert!(unread.read(|| true).unwrap().is_none());
}

#[test]
fn a_version_of_another_size_names_its_own_and_scales_encoded_pictures_to_it() {
    let reads =
        Reads { frame: Frame { height: 2, width: 3 }, encoded: Normalization::Scale, knows_blank: false };
    let of = |image| check(Given { images: vec![image], ..Given::default() }, reads);
    let error = of(pixels(&INK)).unwrap_err();
    assert_eq!(error.message, "has 784 bytes: a picture of 2 x 3 has 6");
    let error = check(Given { batch: vec![0; 7].into(), ..Given::default() }, reads).unwrap_err();
    assert_eq!((error.field.as_str(), error.message.contains("6 (2 x 3)")), ("pixel_batch", true));
    let png = image::to_png(&[9, 9, 8, 8, 7, 7, 9, 9, 8, 8, 7, 7], 6, 2);
    let Checked::Unread(unread) = of(encoded(&png)).unwrap() else { panic!("a file has to be read") };
    assert_eq!(bytes(unread.read(|| false).unwrap().unwrap().pictures), [9, 8, 7, 9, 8, 7][..]);
}

#[test]
fn every_picture_is_judged_wherever_it_stands() {
    let images = vec![pixels(&[0; AREA]), floats(vec![0.25; AREA]), pixels(&bar())];
    let batch = Bytes::from([[0; AREA].to_vec(), bar()].concat());
    let known = [Quality::Blank, Quality::Blank, Quality::Good, Quality::Blank, Quality::Good].map(Some);
    for normalization in [v1::Normalization::None, v1::Normalization::Auto] {
        let (images, batch, normalization) = (images.clone(), batch.clone(), normalization.into());
        let seen = seen(Given { images, batch, normalization, pngs: false }).unwrap();
        assert_eq!(seen.qualities, known);
        assert!(seen.pngs.is_empty());
    }
    let alone = Given { images: vec![pixels(&[3; AREA])], ..Given::default() };
    assert_eq!(seen(alone).unwrap().qualities, [Some(Quality::Blank)]);
}

#[test]
fn what_the_network_sees_comes_as_png_where_asked() {
    let images = vec![pixels(&bar()), encoded(&image::to_png(&bar(), SIDE, SIDE))];
    let seen = seen(Given { images, batch: INK.to_vec().into(), normalization: 0, pngs: true }).unwrap();
    assert_eq!(seen.pngs.len(), 3);
    let shown: Vec<u8> =
        seen.pngs.iter().flat_map(|png| image::decode(png, image::Shades::Luma).unwrap().pixels).collect();
    assert_eq!(shown, bytes(seen.pictures));
}

#[test]
fn a_version_of_ones_own_set_takes_blank_pictures_for_what_they_are() {
    let reads = Reads { encoded: Normalization::Scale, knows_blank: false, ..MNIST };
    let given = Given { batch: vec![0; AREA].into(), ..Given::default() };
    let Checked::Ready(seen) = check(given, reads).unwrap() else { panic!("nothing to read") };
    assert_eq!(seen.qualities, [None]);
}

#[test]
fn a_blank_picture_is_not_looked_into() {
    let image = encoded(&image::to_png(&[200; AREA], SIDE, SIDE));
    let Checked::Unread(unread) = check_one(image, 0, MNIST).unwrap() else { panic!("a file is read") };
    let error = unread.read(|| false).unwrap_err();
    assert_eq!((&*error.field, error.message.starts_with("is blank")), ("image.encoded", true));
}

#[test]
fn encoded_pictures_that_unpack_to_too_much_are_refused_by_their_place() {
    let png = image::to_png(&vec![0; 4096 * 4096], 4096, 4096);
    let largest = |count: usize| {
        let images = vec![encoded(&png); count];
        read(images, &[], v1::Normalization::Scale)
    };
    largest(8).unwrap();
    let refused = largest(9).unwrap_err();
    assert_eq!(refused.field, "images[8].encoded");
    assert!(refused.message.contains("at most 134217728"), "{}", refused.message);
}
