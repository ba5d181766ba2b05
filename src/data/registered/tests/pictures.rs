//! Folders of PNG pictures: small ones that are read, and hostile ones.

use std::{fs, os::unix::fs::symlink};

use image::{ImageEncoder as _, codecs::png::PngEncoder};

use super::*;
use crate::data::image::to_png;

/// A picture of 2 × 3 pixels that is full of `value`.
fn full(value: u8) -> Vec<u8> {
    to_png(&[value; 6], 2, 3)
}

fn write(folder: &Path, path: &str, bytes: &[u8]) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Ten cats and ten dogs, a class a folder.
fn pets(folder: &Path) {
    for at in 0..10 {
        write(folder, &format!("cat/{at}.png"), &full(at));
        write(folder, &format!("dog/{at}.PNG"), &full(100 + at));
    }
}

fn read(folder: &Path) -> Result<Parts, Error> {
    let name: DatasetName = "own".parse().unwrap();
    let sets = RegisteredSets::new([(name.clone(), folder.to_owned())].into());
    sets.read(&name).map(|parts| parts.expect("it is registered"))
}

fn refusal(change: impl FnOnce(&Path)) -> String {
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
fn a_fifth_of_each_class_is_set_aside_and_one_more_picture_moves_no_other() {
    let folder = tempfile::tempdir().unwrap();
    pets(folder.path());
    fs::write(folder.path().join("README"), "no picture").unwrap();
    write(folder.path(), "cat/.hidden", b"no picture either");
    let Parts { train, test } = read(folder.path()).unwrap();
    assert_eq!((train.len(), test.len(), train.height(), train.width()), (16, 4, 3, 2));
    assert_eq!(train.class_names(), ["cat", "dog"]);
    assert_eq!(test.labels().iter().filter(|&&label| label == 0).count(), 2);
    let mut all = [sorted(&train), sorted(&test)].concat();
    all.sort_unstable();
    assert_eq!(all, (0..10).chain(100..110).collect::<Vec<u8>>());
    // Mixed, so that the last pictures, which validate a run, are of both classes.
    assert!(train.labels()[8..].contains(&0) && train.labels()[8..].contains(&1));
    write(folder.path(), "dog/another.png", &full(200));
    let more = read(folder.path()).unwrap();
    assert!(sorted(&more.test).iter().filter(|value| sorted(&test).contains(value)).count() >= 3);
}

#[test]
fn what_is_split_already_stays_split_and_numbers_count_as_numbers() {
    let folder = tempfile::tempdir().unwrap();
    for (label, value) in [("10", 10), ("9", 9), ("2", 2)] {
        write(folder.path(), &format!("train/{label}/a.png"), &full(value));
    }
    write(folder.path(), "test/9/b.png", &full(90));
    let Parts { train, test } = read(folder.path()).unwrap();
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
fn colours_become_grey_by_luminance_and_sixteen_bits_eight() {
    let folder = tempfile::tempdir().unwrap();
    let encode = |bytes: &[u8], colour| {
        let mut png = Vec::new();
        PngEncoder::new(&mut png).write_image(bytes, 1, 1, colour).unwrap();
        png
    };
    write(folder.path(), "train/green/a.png", &encode(&[0, 255, 0], image::ExtendedColorType::Rgb8));
    let deep = u16::to_ne_bytes(0x8000);
    write(folder.path(), "train/grey/a.png", &encode(&deep, image::ExtendedColorType::L16));
    write(folder.path(), "test/grey/a.png", &encode(&[7], image::ExtendedColorType::L8));
    let Parts { train, test } = read(folder.path()).unwrap();
    let value = |label: u8| train.image(train.labels().iter().position(|&of| of == label).unwrap())[0];
    // ITU-R BT.709 gives green 0.7152 of the light.
    assert_eq!((value(0), value(1), test.image(0)[0]), (182, 128, 7));
}

#[test]
fn a_folder_of_pictures_that_is_broken_is_told_with_its_file() {
    let told = |message: String, file: &str, what: &str| {
        assert!(message.contains(file) && message.contains(what), "{message}");
    };
    let other = refusal(|folder| write(folder, "dog/z.png", &to_png(&[0; 6], 3, 2)));
    told(other, "png", "a set has one size");
    let wide = refusal(|folder| write(folder, "dog/z.png", &to_png(&[0; 65 * 65], 65, 65)));
    told(wide, "z.png", "at byte 16 that it has 65x65 pixels");
    let mut liar = full(0);
    liar[16..24].fill(0xff);
    told(refusal(|folder| write(folder, "dog/z.png", &liar)), "z.png", "a side has 1 to 64");
    told(refusal(|folder| write(folder, "dog/z.png", &full(0)[..40])), "z.png", "is broken");
    told(refusal(|folder| write(folder, "dog/z.png", b"GIF89a")), "z.png", "is no PNG file");
    told(refusal(|folder| write(folder, "dog/z.png", &[0; 70_000])), "z.png", "has 70000 bytes");
    told(refusal(|folder| write(folder, "dog/z.jpg", b"")), "z.jpg", "is no PNG file");
    told(refusal(|folder| write(folder, "z.png", &full(0))), "z.png", "lies in no class's folder");
    told(refusal(|folder| fs::create_dir(folder.join("bird")).unwrap()), "bird", "without pictures");
    let looped = refusal(|folder| symlink("z.png", folder.join("dog/z.png")).unwrap());
    told(looped, "z.png", "cannot read");
    let device = refusal(|folder| symlink("/dev/zero", folder.join("dog/z.png")).unwrap());
    told(device, "z.png", "it is not a file");
    let above = refusal(|folder| symlink(folder, folder.join("dog/loop")).unwrap());
    told(above, "loop", "is no PNG file");
    let many = refusal(|folder| (0..99).for_each(|at| write(folder, &format!("c{at}/a.png"), &full(0))));
    told(many, "", "has 101 classes (folders): use 2 to 100");
    let untrained = refusal(|folder| {
        write(folder, "train/cat/a.png", &full(0));
        write(folder, "test/fox/a.png", &full(0));
    });
    told(untrained, "fox", "is a class that no picture for training has");
}
