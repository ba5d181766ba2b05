//! The built-in digits: drawn from strokes in this repository, with random variation, and placed as
//! MNIST's are. They need no file, and a network trained on them predicts real digits.

mod glyphs;
mod handwriting;
mod rasterize;

use std::{num::NonZero, ops::Range, thread};

use self::{glyphs::Style, handwriting::Variation, rasterize::Pen};
use super::{ImageSet, Random, Stream, centering, dataset::Dims};

/// Images for training and validation.
pub const TRAIN_IMAGES: usize = 60_000;

/// Images for testing.
pub const TEST_IMAGES: usize = 10_000;

const AREA: usize = centering::SIDE * centering::SIDE;

/// The two streams of digits, which share no image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigitStream {
    /// Training and validation.
    Train,
    Test,
}

impl DigitStream {
    fn stream(self) -> Stream {
        match self {
            Self::Train => Stream::SyntheticTrain,
            Self::Test => Stream::SyntheticTest,
        }
    }
}

/// Draws the images at `indices` of a stream, on all cores: each image is a function of (seed,
/// source, index) alone, and every ten in a row from a multiple of ten hold each digit once.
pub fn draw(seed: u64, source: DigitStream, indices: Range<usize>) -> ImageSet {
    let labels: Vec<u8> = indices.clone().map(|index| label(seed, source, index)).collect();
    let mut pixels = vec![0; labels.len() * AREA];
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let share = labels.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        for (part, chunk) in pixels.chunks_mut(share * AREA).enumerate() {
            let (start, labels) = (indices.start + part * share, &labels[part * share..]);
            scope.spawn(move || {
                for (at, image) in chunk.chunks_exact_mut(AREA).enumerate() {
                    let mut random = Random::new(seed, source.stream(), (start + at) as u64, IMAGE);
                    image.copy_from_slice(&digit(labels[at], &mut random));
                }
            });
        }
    });
    ImageSet::new(Dims::MNIST, pixels, labels).expect("one image was drawn for every label")
}

/// The streams of labels and of images: the last word of their address.
const LABEL: u64 = 0;
const IMAGE: u64 = 1;

/// The digit at `index`: one of a shuffle of all ten, for balance.
fn label(seed: u64, source: DigitStream, index: usize) -> u8 {
    let mut digits: [u8; 10] = std::array::from_fn(|digit| digit as u8);
    Random::new(seed, source.stream(), (index / 10) as u64, LABEL).shuffle(&mut digits);
    digits[index % 10]
}

/// One image of a digit, 28 × 28 bytes.
fn digit(label: u8, random: &mut Random) -> Vec<u8> {
    let style = choose(glyphs::styles(label), random);
    let looseness = random.between(0.5, 1.5);
    let chance = Variation {
        point: 2.5 * looseness,
        stroke: 3.0 * looseness,
        slant: (if label == 1 { 0.30 } else { 0.24 }, 0.18),
        turn: 0.08,
        aspect: (0.28, 0.10),
        bend: if label == 1 { 2.4 } else { 3.6 } * looseness,
    };
    // A 1 has no inside that a broad pen could fill, and is often written with one.
    let width = if label == 1 { 2.7 } else { 2.4 };
    let pen = Pen {
        width: (width * (0.30 * random.normal()).exp()).clamp(1.2, 5.0),
        pressure: random.between(0.0, 0.25),
        roughness: random.between(0.0, 0.35),
        softness: random.between(0.8, 1.6),
        strength: random.between(1.0, 1.3),
        size: random.between(19.4, 20.0),
    };
    let lines = handwriting::write(style, &chance, random);
    centering::center_by_mass(&rasterize::draw(&lines, &pen, random), centering::ImageSize::MNIST)
}

fn choose<'a>(styles: &'a [Style], random: &mut Random) -> &'a Style {
    let mut left = random.unit() * styles.iter().map(|style| style.weight).sum::<f64>();
    let found = styles.iter().find(|style| {
        left -= style.weight;
        left < 0.0
    });
    found.unwrap_or(&styles[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_depends_on_its_address_alone() {
        let whole = draw(5, DigitStream::Train, 0..40);
        let part = draw(5, DigitStream::Train, 13..29);
        assert_eq!(part.digest(), whole.slice(13..29).digest());
        assert_ne!(draw(6, DigitStream::Train, 0..40).digest(), whole.digest());
        assert!(draw(5, DigitStream::Train, 7..7).is_empty());
    }

    #[test]
    fn train_and_test_share_no_image() {
        let (train, test) = (draw(0, DigitStream::Train, 0..500), draw(0, DigitStream::Test, 0..500));
        let seen: std::collections::HashSet<&[u8]> = (0..500).map(|at| train.image(at)).collect();
        assert_eq!(seen.len(), 500);
        assert!((0..500).all(|at| !seen.contains(test.image(at))));
    }

    #[test]
    fn every_ten_hold_each_digit_once() {
        let set = draw(1, DigitStream::Train, 50_000..50_200);
        for ten in set.labels().chunks(10) {
            let mut sorted = ten.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        }
        assert_ne!(set.labels()[..10], set.labels()[10..20]);
    }

    #[test]
    fn digits_fill_the_box_and_are_centered_by_mass() {
        let set = draw(2, DigitStream::Test, 0..300);
        for at in 0..set.len() {
            let image = set.image(at);
            let inked = || (0..AREA).filter(|&pixel| image[pixel] > 64);
            let rows = inked().map(|pixel| pixel / 28).max().unwrap() - inked().next().unwrap() / 28;
            let columns = || inked().map(|pixel| pixel % 28);
            let longer = rows.max(columns().max().unwrap() - columns().min().unwrap()) + 1;
            assert!((17..=22).contains(&longer), "image {at} is {longer} long");
            let mass: f64 = image.iter().map(|&pixel| f64::from(pixel)).sum();
            let moment: f64 =
                image.iter().enumerate().map(|(pixel, &ink)| (pixel / 28) as f64 * f64::from(ink)).sum();
            assert!((moment / mass - 14.0).abs() <= 0.51, "image {at} hangs at {}", moment / mass);
            assert!(image.iter().max() > Some(&200));
        }
    }
}
