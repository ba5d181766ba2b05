//! MNIST's images in the surroundings that scans and photographs have: cell borders and boxes, shadows, a dark
//! table, and files whose values do not fill their range. Used by tests and by `benches/pictures.rs`.

use std::io::Cursor;

use image::{
    DynamicImage, GrayImage, ImageBuffer, ImageFormat, Luma,
    imageops::{self, FilterType},
};

use crate::drawing::Random;

/// What surrounds a digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surroundings {
    /// Nothing: a sheet of paper.
    Sheet,
    /// Nothing, and the picture is cropped to the digit's bounding box.
    TightCrop,
    /// Lines on all four sides.
    FourSides,
    /// Lines on one to three sides.
    SomeSides,
    /// Lines with gaps on one to four sides.
    BrokenLines,
    /// Lines slanted by up to 3 degrees on one to four sides.
    SlantedLines,
    /// A digit that touches one of the lines.
    TouchingLine,
    /// Light that falls off across the sheet.
    SoftShadow,
    /// A shadow with a sharp edge.
    HardShadow,
    /// A dark table beside the sheet.
    DarkTable,
    /// A PNG file of 16 bits whose values fill 8.
    EightOfSixteenBits,
    /// A PNG file of 16 bits whose values fill 12.
    TwelveOfSixteenBits,
}

impl Surroundings {
    /// All surroundings, with their names in reports.
    pub const ALL: [(Self, &str); 12] = [
        (Self::Sheet, "sheet"),
        (Self::TightCrop, "tight crop"),
        (Self::FourSides, "four sides"),
        (Self::SomeSides, "one to three sides"),
        (Self::BrokenLines, "broken lines"),
        (Self::SlantedLines, "slanted lines"),
        (Self::TouchingLine, "touching line"),
        (Self::SoftShadow, "soft shadow"),
        (Self::HardShadow, "hard shadow"),
        (Self::DarkTable, "dark table"),
        (Self::EightOfSixteenBits, "8 of 16 bits"),
        (Self::TwelveOfSixteenBits, "12 of 16 bits"),
    ];

    /// How many sides have lines.
    fn sides(self, random: &mut Random) -> usize {
        match self {
            Self::FourSides => 4,
            Self::SomeSides => 1 + random.below(3),
            Self::BrokenLines | Self::SlantedLines | Self::TouchingLine => 1 + random.below(4),
            Self::Sheet
            | Self::TightCrop
            | Self::SoftShadow
            | Self::HardShadow
            | Self::DarkTable
            | Self::EightOfSixteenBits
            | Self::TwelveOfSixteenBits => 0,
        }
    }
}

/// A line along one side of the picture.
#[derive(Debug, Clone, Copy)]
struct Line {
    /// Whether it runs from left to right.
    lies: bool,
    /// Whether it is on the right or lower side.
    is_far: bool,
    /// The distance of its middle from the side, halfway along, in pixels.
    inset: f32,
    thickness: f32,
    /// The tangent of its angle.
    slope: f32,
    /// Where it begins and ends along the side, in pixels.
    from: f32,
    to: f32,
    /// The share of it that is missing.
    gaps: f32,
    /// Where the gaps are.
    seed: u64,
    /// Its darkness as a share of the ink's.
    depth: f32,
}

impl Line {
    /// The share of a pixel that the line covers.
    fn cover(&self, x: f32, y: f32, width: f32, height: f32) -> f32 {
        let (along, across, length, depth) =
            if self.lies { (x, y, width, height) } else { (y, x, height, width) };
        if along < self.from || along > self.to {
            return 0.0;
        }
        let middle = if self.is_far { depth - self.inset } else { self.inset };
        let middle = middle + (along - length / 2.0) * self.slope;
        let share = (self.thickness / 2.0 - (across - middle).abs() + 0.5).clamp(0.0, 1.0);
        // Forty dashes, each there or not.
        let dash = (along / length * 40.0) as u64;
        let missing = self.gaps > 0.0 && Random::new(self.seed ^ (dash << 32)).unit() < self.gaps;
        if missing { 0.0 } else { share * self.depth }
    }
}

/// Draws an image of 28 x 28 in a surroundings, as a PNG file. `seed` alone decides sizes, places and shades.
pub fn draw_in(pixels: &[u8], seed: u64, surroundings: Surroundings) -> Vec<u8> {
    let mut random = Random::new(seed.wrapping_mul(31).wrapping_add(surroundings as u64 * 7919 + 5));
    let shorter = random.between(100.0, 400.0);
    let aspect = random.between(1.0, 1.4);
    let (width, height) = match random.below(2) {
        0 => (shorter, (shorter * aspect).floor()),
        _ => ((shorter * aspect).floor(), shorter),
    };
    let (width, height) = (width.floor(), height.floor());
    let digit = pen(pixels, (shorter * random.between(0.55, 0.95)) as u32, &mut random);
    let (left, top, right, bottom) = extent(&digit);
    let (wide, high) = ((right - left + 1) as f32, (bottom - top + 1) as f32);
    if surroundings == Surroundings::TightCrop {
        return png(&shade(wide, high, &mut random, Surroundings::TightCrop, |x, y| {
            (ink_at(&digit, x + left as f32, y + top as f32), 1.0)
        }));
    }
    let lines = lines(surroundings, width, height, &mut random);
    let room = |lies: bool, is_far: bool| -> f32 {
        let beside = lines.iter().filter(|line| line.lies == lies && line.is_far == is_far);
        let side = if lies { width } else { height };
        let needed = |line: &Line| line.inset + line.thickness / 2.0 + line.slope.abs() * side / 2.0;
        beside.map(needed).fold(0.0, f32::max) + 0.03 * shorter
    };
    let mut place = |lies: bool, extent: f32, side: f32| {
        let (low, high) = (room(lies, false), side - room(lies, true) - extent);
        if high > low { random.between(low, high) } else { f32::midpoint(low, high) }
    };
    let (mut x0, mut y0) = (place(false, wide, width), place(true, high, height));
    if surroundings == Surroundings::TouchingLine {
        let line = lines[random.below(lines.len())];
        let near = line.inset + line.thickness / 2.0 - random.between(0.0, line.thickness.min(3.0));
        match (line.lies, line.is_far) {
            (true, false) => y0 = near,
            (true, true) => y0 = height - near - high,
            (false, false) => x0 = near,
            (false, true) => x0 = width - near - wide,
        }
    }
    let (x0, y0) = (x0.round(), y0.round());
    let light = Light::draw(surroundings, (x0, y0, x0 + wide, y0 + high), (width, height), &mut random);
    let sheet = shade(width, height, &mut random, surroundings, |x, y| {
        let drawn = ink_at(&digit, x - x0 + left as f32, y - y0 + top as f32);
        let ruled = lines.iter().map(|line| line.cover(x + 0.5, y + 0.5, width, height));
        (ruled.fold(drawn, f32::max), light.at(x, y))
    });
    png(&sheet)
}

/// The digit in the size of `side` with a thin or a thick pen, as shares of ink.
fn pen(pixels: &[u8], side: u32, random: &mut Random) -> ImageBuffer<Luma<f32>, Vec<f32>> {
    let values: Vec<f32> = pixels.iter().map(|&pixel| f32::from(pixel) / 255.0).collect();
    let small = ImageBuffer::<Luma<f32>, _>::from_raw(28, 28, values).unwrap();
    let mut large = imageops::resize(&small, side, side, FilterType::CatmullRom);
    let (level, soft) = (random.between(0.25, 0.6), random.between(0.15, 0.5));
    large.pixels_mut().for_each(|pixel| pixel[0] = ((pixel[0] - level) / soft + 0.5).clamp(0.0, 1.0));
    large
}

fn ink_at(digit: &ImageBuffer<Luma<f32>, Vec<f32>>, x: f32, y: f32) -> f32 {
    let inside = x >= 0.0 && y >= 0.0 && x < digit.width() as f32 && y < digit.height() as f32;
    if inside { digit.get_pixel(x as u32, y as u32)[0] } else { 0.0 }
}

/// The bounding box of the ink: left, top, right, bottom.
fn extent(digit: &ImageBuffer<Luma<f32>, Vec<f32>>) -> (u32, u32, u32, u32) {
    let inked = || digit.enumerate_pixels().filter(|(_, _, pixel)| pixel[0] > 0.5);
    let columns = || inked().map(|(x, _, _)| x);
    let rows = || inked().map(|(_, y, _)| y);
    let or = |end: Option<u32>| end.unwrap_or(0);
    (or(columns().min()), or(rows().min()), or(columns().max()), or(rows().max()))
}

fn lines(surroundings: Surroundings, width: f32, height: f32, random: &mut Random) -> Vec<Line> {
    let mut sides = [(true, false), (true, true), (false, false), (false, true)];
    (1..4).rev().for_each(|at| sides.swap(at, random.below(at + 1)));
    let count = surroundings.sides(random);
    let thickness = 1.0 + random.below(6) as f32;
    let at_edge = random.below(2) == 0;
    // Lines of a table go on beyond its corners, those of a box end in them.
    let through = random.below(2) == 0;
    let depth = random.between(0.7, 1.0);
    let shared_inset = random.between(0.02, 0.1);
    sides[..count]
        .iter()
        .map(|&(lies, is_far)| {
            let (length, side) = if lies { (width, height) } else { (height, width) };
            let inset = if at_edge { thickness / 2.0 } else { shared_inset * side };
            let slope = match surroundings {
                Surroundings::SlantedLines => random.between(-3.0, 3.0).to_radians().tan(),
                _ => random.between(-0.3, 0.3).to_radians().tan(),
            };
            let end = if through || at_edge { 0.0 } else { shared_inset * length };
            let gaps =
                if surroundings == Surroundings::BrokenLines { random.between(0.05, 0.25) } else { 0.0 };
            let seed = (random.unit() * 1e9) as u64;
            let (from, to) = (end, length - end);
            Line { lies, is_far, inset, thickness, slope, from, to, gaps, seed, depth }
        })
        .collect()
}

/// How the light falls on the sheet, and what lies beside it.
struct Light {
    /// The unit vector from the lit part to the dark part.
    toward: (f32, f32),
    /// Where the dark part begins, in pixels along that vector.
    edge: f32,
    /// The width of the transition in pixels.
    soft: f32,
    /// The light of the dark part, 1 where all is lit.
    dark: f32,
}

impl Light {
    fn draw(
        surroundings: Surroundings,
        (left, top, right, bottom): (f32, f32, f32, f32),
        (width, height): (f32, f32),
        random: &mut Random,
    ) -> Self {
        let angle = match surroundings {
            Surroundings::DarkTable => {
                (random.below(4) as f32 * 90.0 + random.between(-8.0, 8.0)).to_radians()
            }
            _ => random.between(0.0, std::f32::consts::TAU),
        };
        let toward = (angle.cos(), angle.sin());
        let along = |x: f32, y: f32| x * toward.0 + y * toward.1;
        let most =
            |corners: [(f32, f32); 4]| corners.into_iter().map(|(x, y)| along(x, y)).fold(f32::MIN, f32::max);
        let of_digit = most([(left, top), (right, top), (left, bottom), (right, bottom)]);
        let of_sheet = most([(0.0, 0.0), (width, 0.0), (0.0, height), (width, height)]);
        let middle = along(width / 2.0, height / 2.0);
        let shorter = width.min(height);
        let across = random.between(-0.3, 0.3) * shorter;
        match surroundings {
            Surroundings::SoftShadow => Self {
                toward,
                edge: middle + across,
                soft: random.between(0.1, 0.4) * shorter,
                dark: random.between(0.35, 0.7),
            },
            Surroundings::HardShadow => Self {
                toward,
                edge: middle + across,
                soft: random.between(0.5, 2.0),
                dark: random.between(0.4, 0.75),
            },
            Surroundings::DarkTable => Self {
                toward,
                edge: random.between(of_digit + 3.0, (of_digit + 4.0).max(of_sheet - 0.04 * shorter)),
                soft: 0.7,
                dark: random.between(0.1, 0.3),
            },
            _ => Self { toward, edge: f32::MAX, soft: 1.0, dark: 1.0 },
        }
    }

    fn at(&self, x: f32, y: f32) -> f32 {
        let beyond = (x * self.toward.0 + y * self.toward.1 - self.edge) / self.soft;
        let share = 1.0 / (1.0 + (-2.0 * beyond).exp());
        1.0 + (self.dark - 1.0) * share
    }
}

/// The sheet's grey values from the ink and the light of each pixel.
fn shade(
    width: f32,
    height: f32,
    random: &mut Random,
    surroundings: Surroundings,
    at: impl Fn(f32, f32) -> (f32, f32),
) -> DynamicImage {
    let paper = random.between(225.0, 255.0);
    let (depth, grain) = (random.between(150.0, 220.0), random.between(0.0, 8.0));
    let (width, height) = (width as u32, height as u32);
    let mut value = |x: u32, y: u32| {
        let (ink, light) = at(x as f32, y as f32);
        ((paper - depth * ink) * light + grain * random.normal()).clamp(0.0, 255.0)
    };
    let deep = |most: f32, value: &mut dyn FnMut(u32, u32) -> f32| {
        let pixel = |x, y| Luma([(value(x, y) / 255.0 * most).round() as u16]);
        DynamicImage::ImageLuma16(ImageBuffer::from_fn(width, height, pixel))
    };
    match surroundings {
        Surroundings::EightOfSixteenBits => deep(255.0, &mut value),
        Surroundings::TwelveOfSixteenBits => deep(4095.0, &mut value),
        _ => GrayImage::from_fn(width, height, |x, y| Luma([value(x, y).round() as u8])).into(),
    }
}

fn png(image: &DynamicImage) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, ImageFormat::Png).unwrap();
    file.into_inner()
}
