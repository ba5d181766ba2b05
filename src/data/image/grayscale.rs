//! Conversion of colours to grey: by luma, or so that ink has the largest contrast.

use image::{DynamicImage, Rgba};

use super::{GrayPicture, Grayscale};

/// Pixels that are examined to choose a channel.
const SAMPLE: usize = 1 << 14;

/// Another channel must differ by this many times more than the luma to be preferred: grey has the
/// least noise.
const WORTH_IT: f64 = 1.5;

/// Returns the picture in grey; transparent pixels show the background.
pub fn to_gray(image: DynamicImage, shades: Grayscale) -> GrayPicture {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let image = with_full_range(image);
    if let DynamicImage::ImageLuma8(grey) = image {
        return GrayPicture { width, height, pixels: grey.into_raw() };
    }
    let pixels = match shades {
        Grayscale::Luma => over_white(&image),
        Grayscale::Contrast if image.color().has_color() || image.color().has_alpha() => {
            let rgba = image.into_rgba8();
            let view = GrayProjection::with_most_contrast(&rgba);
            rgba.pixels().map(|&pixel| view.of(pixel)).collect()
        }
        Grayscale::Contrast => image.into_luma8().into_raw(),
    };
    GrayPicture { width, height, pixels }
}

/// The picture with its values scaled to 16 bits, where it has that many and uses 8, 10 or 12 of them, as scanners
/// and cameras store theirs.
fn with_full_range(mut image: DynamicImage) -> DynamicImage {
    let (values, channels, colors): (&mut [u16], _, _) = match &mut image {
        DynamicImage::ImageLuma16(image) => (image, 1, 1),
        DynamicImage::ImageLumaA16(image) => (image, 2, 1),
        DynamicImage::ImageRgb16(image) => (image, 3, 3),
        DynamicImage::ImageRgba16(image) => (image, 4, 3),
        _ => return image,
    };
    // What is transparent may have any colour, and alpha is always of 16 bits.
    let mut most = 0;
    for pixel in values.chunks_exact(channels) {
        most = pixel[..colors].iter().copied().fold(most, u16::max);
    }
    if let Some(full) = [255u16, 1023, 4095].into_iter().find(|full| most <= *full) {
        for pixel in values.chunks_exact_mut(channels) {
            pixel[..colors]
                .iter_mut()
                .for_each(|value| *value = (u32::from(*value) * 65_535 / u32::from(full)) as u16);
        }
    }
    image
}

fn over_white(image: &DynamicImage) -> Vec<u8> {
    let over_white = |luma: u16, alpha: u16| {
        let (luma, alpha, white) = (u64::from(luma), u64::from(alpha), u64::from(u16::MAX));
        let mixed = (luma * alpha + white * (white - alpha) + white / 2) / white;
        ((mixed + 128) / 257) as u8
    };
    image.to_luma_alpha16().pixels().map(|pixel| over_white(pixel[0], pixel[1])).collect()
}

/// A projection of colours to grey values.
#[derive(Debug, Clone, Copy)]
struct GrayProjection {
    /// The weights of red, green and blue; they sum to 256.
    parts: [u32; 3],
    /// The grey value behind transparent pixels.
    ground: u32,
}

impl GrayProjection {
    /// The luma of ITU-R BT.709, as the crate `image` computes grey.
    const LUMA: [u32; 3] = [54, 183, 19];
    const CHANNELS: [[u32; 3]; 3] = [[256, 0, 0], [0, 256, 0], [0, 0, 256]];

    /// Yellow ink has its contrast in the blue channel, white ink on a transparent background against black.
    fn with_most_contrast(image: &image::RgbaImage) -> Self {
        let (width, height) = (image.width() as usize, image.height() as usize);
        // The step is odd, so that pictures of even width are not sampled in a single column.
        let step = (width * height).div_ceil(SAMPLE) | 1;
        let sample: Vec<Rgba<u8>> = image.pixels().step_by(step).copied().collect();
        let clear = sample.iter().any(|pixel| pixel[3] < u8::MAX);
        let grounds: &[u32] = if clear { &[255, 0] } else { &[255] };
        let views = grounds.iter().flat_map(|&ground| {
            let luma = (Self { parts: Self::LUMA, ground }, WORTH_IT);
            let channels = Self::CHANNELS.map(|parts| (Self { parts, ground }, 1.0));
            std::iter::once(luma).chain(channels)
        });
        let mut best = (Self { parts: Self::LUMA, ground: 255 }, 0.0);
        for (view, worth) in views {
            let spread = view.variance(&sample) * worth;
            if spread > best.1 {
                best = (view, spread);
            }
        }
        best.0
    }

    fn of(self, pixel: Rgba<u8>) -> u8 {
        let [red, green, blue, alpha] = pixel.0.map(u32::from);
        let value = (self.parts[0] * red + self.parts[1] * green + self.parts[2] * blue) / 256;
        ((value * alpha + self.ground * (255 - alpha) + 127) / 255) as u8
    }

    fn variance(self, sample: &[Rgba<u8>]) -> f64 {
        let values = || sample.iter().map(|&pixel| f64::from(self.of(pixel)));
        let count = sample.len().max(1) as f64;
        let mean = values().sum::<f64>() / count;
        values().map(|value| (value - mean).powi(2)).sum::<f64>() / count
    }
}
