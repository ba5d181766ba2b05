//! Changes made to training images on the fly: one random affine map and one elastic field per
//! image, both in a single bilinear resampling of the batch. What is drawn is a function of seed,
//! epoch and step, the same on every device, and nothing waits for the device.

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::{CounterStream, Random, Stream};

/// How far images are moved. An output pixel at p, counted from the centre c, takes the input's
/// value at q, with bilinear interpolation and 0 outside:
///
/// q = c + M·(p − c) + t + α·d(p), with M = R(θ)·[[1, tan φ], [0, 1]] / f,
///
/// θ turns, φ shears, t shifts, f scales (Simard, Steinkraus
/// and Platt 2003; the affine part as PyTorch's `RandomAffine`). Each is uniform: θ within
/// ± `rotation_degrees`, φ within ± `shear_degrees`, both parts of t within ± `shift_pixels`, f in
/// [1 − `scale`, 1 + `scale`]. d is white noise, uniform in [−1, 1) for each pixel and direction and
/// 0 outside the image, convolved with a Gaussian of standard deviation σ = `elastic_sigma` that is
/// cut at 4σ and sums to 1; α = `elastic_alpha`. All zeros: no change.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Augmentation {
    pub rotation_degrees: f64,
    pub shift_pixels: f64,
    pub scale: f64,
    pub shear_degrees: f64,
    pub elastic_alpha: f64,
    pub elastic_sigma: f64,
}

/// An [`Augmentation`] made ready for images of one size on one device.
#[derive(Debug)]
pub struct Augmenter {
    config: Augmentation,
    height: i64,
    width: i64,
    device: Device,
    /// Centred pixel positions and ones, (x, y, 1): [1, height * width, 3].
    positions: Tensor,
    elastic: Option<Elastic>,
}

/// The Gaussian as two matrices, since it is separable: noise [h, w * 2] becomes rows · noise · columns.
#[derive(Debug)]
struct Elastic {
    /// [1, height, height].
    rows: Tensor,
    /// [width * 2, width * 2], for both directions at once, with α and the grid's unit in it.
    columns: Tensor,
}

impl Default for Augmentation {
    /// No change; Simard's σ for when an α is set.
    fn default() -> Self {
        Self {
            rotation_degrees: 0.0,
            shift_pixels: 0.0,
            scale: 0.0,
            shear_degrees: 0.0,
            elastic_alpha: 0.0,
            elastic_sigma: 4.0,
        }
    }
}

impl Augmentation {
    /// Whether images come out as they went in; `elastic_sigma` alone moves nothing.
    pub fn is_none(&self) -> bool {
        let extents =
            [self.rotation_degrees, self.shift_pixels, self.scale, self.shear_degrees, self.elastic_alpha];
        extents.iter().all(|extent| *extent == 0.0)
    }
}

impl Augmenter {
    /// Prepares the augmentation for images of this size; none if it changes nothing.
    pub fn new(config: Augmentation, height: i64, width: i64, device: Device) -> Option<Self> {
        if config.is_none() {
            return None;
        }
        let positions: Vec<f32> = (0..height * width)
            .flat_map(|pixel| [centered(pixel % width, width), centered(pixel / width, height), 1.0])
            .map(|value| value as f32)
            .collect();
        let positions = Tensor::from_slice(&positions).view([1, height * width, 3]).to_device(device);
        let elastic = (config.elastic_alpha != 0.0).then(|| Elastic::new(&config, height, width, device));
        Some(Self { config, height, width, device, positions, elastic })
    }

    /// Images [n, 1, height, width] in [0, 1], moved; channels_last as they came from their set.
    pub fn apply(&self, images: &Tensor, seed: u64, epoch: u64, step: u64) -> Tensor {
        let n = images.size()[0];
        debug_assert_eq!(images.size(), [n, 1, self.height, self.width]);
        let mut random = Random::new(seed, Stream::Augmentation, epoch, step);
        let grid = self.grid(n, &mut random, CounterStream::new(seed, Stream::Elastic, epoch, step));
        let (bilinear, zeros) = (0, 0);
        let moved = images.to_kind(Kind::Float).grid_sampler(&grid, bilinear, zeros, false);
        let (h, w) = (self.height, self.width);
        moved.to_kind(images.kind()).contiguous().as_strided([n, 1, h, w], [h * w, 1, w, 1], None)
    }

    /// Returns the source position of each pixel of each image, in the units of `grid_sampler`: −1 to
    /// 1 from border to border; [n, height, width, 2], x first.
    fn grid(&self, n: i64, random: &mut Random, noise: CounterStream) -> Tensor {
        let maps: Vec<f32> =
            (0..n).flat_map(|_| self.map(random)).map(|coefficient| coefficient as f32).collect();
        let maps = self.send(Tensor::from_slice(&maps).view([n, 3, 2]));
        let positions = self.positions.expand([n, -1, -1], false);
        let grid = match &self.elastic {
            None => positions.bmm(&maps),
            Some(elastic) => {
                elastic.field(n, self.height, self.width, noise).baddbmm(&positions, &maps, 1, 1)
            }
        };
        grid.view([n, self.height, self.width, 2])
    }

    /// Copies numbers to the device without waiting for the work before them: from page-locked memory, which
    /// libtorch keeps until the copy is done. From other memory CUDA may wait.
    fn send(&self, numbers: Tensor) -> Tensor {
        if self.device == Device::Cpu {
            return numbers;
        }
        let numbers = numbers.f_internal_pin_memory(self.device).unwrap_or(numbers);
        numbers.to_device_(self.device, Kind::Float, true, false)
    }

    /// The coefficients of one image's map, row by row: those of x, of y and of 1 in (x, y).
    fn map(&self, random: &mut Random) -> [f64; 6] {
        let mut within = |extent: f64| random.between(-extent, extent);
        let (sin, cos) = within(self.config.rotation_degrees).to_radians().sin_cos();
        let shear = within(self.config.shear_degrees).to_radians().tan();
        let factor = 1.0 + within(self.config.scale);
        let shift = [within(self.config.shift_pixels), within(self.config.shift_pixels)];
        // The grid's unit is half a side.
        let (x, y) = (2.0 / self.width as f64, 2.0 / self.height as f64);
        [
            x * cos / factor,
            y * sin / factor,
            x * (cos * shear - sin) / factor,
            y * (sin * shear + cos) / factor,
            x * shift[0],
            y * shift[1],
        ]
    }
}

impl Elastic {
    fn new(config: &Augmentation, height: i64, width: i64, device: Device) -> Self {
        let unit = |side: i64| config.elastic_alpha * 2.0 / side as f64;
        let scales = Tensor::from_slice(&[unit(width), unit(height)]).diag(0);
        let columns = gaussian(width, config.elastic_sigma).kron(&scales);
        let ready = |matrix: Tensor| matrix.to_kind(Kind::Float).to_device(device);
        Self { rows: ready(gaussian(height, config.elastic_sigma)).unsqueeze(0), columns: ready(columns) }
    }

    /// Displacements [n, height * width, 2], x first.
    fn field(&self, n: i64, height: i64, width: i64, noise: CounterStream) -> Tensor {
        let numbers = (n * height * width * 2) as usize;
        let mut noise = noise.int16(numbers, self.rows.device()).to_kind(Kind::Float);
        self.displacements(&noise.g_div_scalar_(32_768.0).view([n, height, width, 2]))
    }

    /// Displacements [n, height * width, 2] of noise [n, height, width, 2].
    fn displacements(&self, noise: &Tensor) -> Tensor {
        let (n, height, width) = (noise.size()[0], noise.size()[1], noise.size()[2]);
        let smooth = self.rows.expand([n, -1, -1], false).bmm(&noise.view([n, height, width * 2]));
        smooth.view([n * height, width * 2]).mm(&self.columns).view([n, height * width, 2])
    }
}

/// The position of a pixel along its axis, counted from the image's centre.
fn centered(index: i64, side: i64) -> f64 {
    index as f64 - (side - 1) as f64 / 2.0
}

/// The convolution with a Gaussian along an axis of `side` pixels as a symmetric matrix
/// [side, side], in float64.
fn gaussian(side: i64, sigma: f64) -> Tensor {
    let radius = (4.0 * sigma).round() as i64;
    let density = |distance: i64| (-0.5 * (distance as f64 / sigma).powi(2)).exp();
    let sum: f64 = (-radius..=radius).map(density).sum();
    let weight = |distance: i64| if distance <= radius { density(distance) / sum } else { 0.0 };
    let weights: Vec<f64> =
        (0..side * side).map(|place| weight((place / side - place % side).abs())).collect();
    Tensor::from_slice(&weights).view([side, side])
}

#[cfg(test)]
mod tests;
