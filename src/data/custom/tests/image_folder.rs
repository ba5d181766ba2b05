//! Folders of PNG images: small ones that are read, and hostile ones.

use std::{fs, os::unix::fs::symlink};

use image::{ImageEncoder as _, codecs::png::PngEncoder};

use super::*;
use crate::data::image::to_png;

/// An image of 2 × 3 pixels with the value `value`.
fn full(value: u8) -> Vec<u8> {
    to_png(&[value; 6], 2, 3)
}

fn write(folder: &Path, path: &str, bytes: &[u8]) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Ten cats and ten dogs, with a folder for each class.
fn pets(folder: &Path) {
    for at in 0..10 {
        write(folder, &format!("cat/{at}.png"), &full(at));
        write(folder, &format!("dog/{at}.PNG"), &full(100 + at));
    }
}

fn read(folder: &Path) -> Result<TrainTestSets, Error> {
    let name: DatasetName = "own".parse().unwrap();
    let sets = CustomDatasets::new([(name.clone(), folder.to_owned())].into());
    sets.read(&name).map(|parts| parts.expect("it is custom"))
}

fn rejection(change: impl FnOnce(&Path)) -> String {
    let folder = tempfile::tempdir().unwrap();
    pets(folder.path());
    change(folder.path());
    read(folder.path()).unwrap_err().to_string()
}

fn sorted(set: &ImageSet) -> Vec<u8> {
    let mut values: Vec<u8> = (0..set.len()).map(|at| set.image(at)[0]).collect();
    values.sort_unstable();
    values
}

#[test]
fn a_fifth_of_each_class_is_held_out_and_an_added_image_moves_no_other() {
    let folder = tempfile::tempdir().unwrap();
    pets(folder.path());
    fs::write(folder.path().join("README"), "no image").unwrap();
    write(folder.path(), "cat/.hidden", b"no image either");
    let TrainTestSets { train, test } = read(folder.path()).unwrap();
    assert_eq!((train.len(), test.len(), train.height(), train.width()), (16, 4, 3, 2));
    assert_eq!(train.class_names(), ["cat", "dog"]);
    assert_eq!(test.labels().iter().filter(|&&label| label == 0).count(), 2);
    let mut all = [sorted(&train), sorted(&test)].concat();
    all.sort_unstable();
    assert_eq!(all, (0..10).chain(100..110).collect::<Vec<u8>>());
    // The classes are mixed, so that the last images, which become the validation split, have both.
    assert!(train.labels()[8..].contains(&0) && train.labels()[8..].contains(&1));
    write(folder.path(), "dog/another.png", &full(200));
    let more = read(folder.path()).unwrap();
    assert!(sorted(&more.test).iter().filter(|value| sorted(&test).contains(value)).count() >= 3);
}

#[test]
fn an_existing_split_is_kept_and_numeric_names_sort_by_value() {
    let folder = tempfile::tempdir().unwrap();
    for (label, value) in [("10", 10), ("9", 9), ("2", 2)] {
        write(folder.path(), &format!("train/{label}/a.png"), &full(value));
    }
    write(folder.path(), "test/9/b.png", &full(90));
    let TrainTestSets { train, test } = read(folder.path()).unwrap();
    assert_eq!(train.class_names(), ["2", "9", "10"]);
    assert_eq!((test.labels(), test.image(0)[0]), (&[1][..], 90));
    assert!((0..3).all(|at| [2, 9, 10][usize::from(train.label(at))] == train.image(at)[0]));
    for label in ["0", "1"] {
        write(folder.path(), &format!("digits/{label}/a.png"), &full(1));
        write(folder.path(), &format!("digits/{label}/b.png"), &full(2));
    }
    assert!(read(&folder.path().join("digits")).unwrap().train.class_names().is_empty());
}

#[test]
fn colors_are_converted_to_grey_by_luminance_and_16_bits_to_8() {
    let folder = tempfile::tempdir().unwrap();
    let encode = |bytes: &[u8], color| {
        let mut png = Vec::new();
        PngEncoder::new(&mut png).write_image(bytes, 1, 1, color).unwrap();
        png
    };
    write(folder.path(), "train/green/a.png", &encode(&[0, 255, 0], image::ExtendedColorType::Rgb8));
    let deep = u16::to_ne_bytes(0x8000);
    write(folder.path(), "train/grey/a.png", &encode(&deep, image::ExtendedColorType::L16));
    write(folder.path(), "test/grey/a.png", &encode(&[7], image::ExtendedColorType::L8));
    let TrainTestSets { train, test } = read(folder.path()).unwrap();
    let value = |label: u8| train.image(train.labels().iter().position(|&of| of == label).unwrap())[0];
    // ITU-R BT.709 weights green with 0.7152.
    assert_eq!((value(0), value(1), test.image(0)[0]), (182, 128, 7));
}

#[test]
fn a_broken_folder_of_images_is_reported_with_its_file() {
    let check_names = |message: String, file: &str, what: &str| {
        assert!(message.contains(file) && message.contains(what), "{message}");
    };
    let other = rejection(|folder| write(folder, "dog/z.png", &to_png(&[0; 6], 3, 2)));
    check_names(other, "png", "a set has one size");
    let wide = rejection(|folder| write(folder, "dog/z.png", &to_png(&[0; 65 * 65], 65, 65)));
    check_names(wide, "z.png", "at byte 16 that it has 65x65 pixels");
    let mut liar = full(0);
    liar[16..24].fill(0xff);
    check_names(rejection(|folder| write(folder, "dog/z.png", &liar)), "z.png", "a side has 1 to 64");
    check_names(rejection(|folder| write(folder, "dog/z.png", &full(0)[..40])), "z.png", "is broken");
    check_names(rejection(|folder| write(folder, "dog/z.png", b"GIF89a")), "z.png", "is no PNG file");
    check_names(rejection(|folder| write(folder, "dog/z.png", &[0; 70_000])), "z.png", "has 70000 bytes");
    check_names(rejection(|folder| write(folder, "dog/z.jpg", b"")), "z.jpg", "is no PNG file");
    check_names(rejection(|folder| write(folder, "z.png", &full(0))), "z.png", "lies in no class's folder");
    check_names(rejection(|folder| fs::create_dir(folder.join("bird")).unwrap()), "bird", "without images");
    let looped = rejection(|folder| symlink("z.png", folder.join("dog/z.png")).unwrap());
    check_names(looped, "z.png", "cannot read");
    let device = rejection(|folder| symlink("/dev/zero", folder.join("dog/z.png")).unwrap());
    check_names(device, "z.png", "it is not a file");
    let above = rejection(|folder| symlink(folder, folder.join("dog/loop")).unwrap());
    check_names(above, "loop", "is no PNG file");
    let many = rejection(|folder| (0..99).for_each(|at| write(folder, &format!("c{at}/a.png"), &full(0))));
    check_names(many, "", "has 101 classes (folders): use 2 to 100");
    let untrained = rejection(|folder| {
        write(folder, "train/cat/a.png", &full(0));
        write(folder, "test/fox/a.png", &full(0));
    });
    check_names(untrained, "fox", "is a class that no image for training has");
}
