//! Batches of images as tensors, cut from a whole set that lies on the device as bytes.
//! Which images make a batch is decided by `epoch_order` or by the caller.

use std::ops::Range;

use tch::{Device, Kind, Tensor};

use super::{ImageSet, Random, Stream};

/// The order in which an epoch visits its images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The order of the set.
    File,
    /// A fresh shuffle every epoch.
    Shuffled,
}

/// The order of `n` images in `epoch`: a function of the seed and the epoch alone.
pub fn epoch_order(n: usize, order: Order, seed: u64, epoch: u32) -> Vec<i64> {
    let mut indices: Vec<i64> = (0..n as i64).collect();
    if order == Order::Shuffled {
        Random::new(seed, Stream::Shuffle, u64::from(epoch), 0).shuffle(&mut indices);
    }
    indices
}

/// Images `[b, 1, height, width]` in `[0, 1]` and labels `[b]` as i64.
#[derive(Debug)]
pub struct Batch {
    pub images: Tensor,
    pub labels: Tensor,
}

/// A whole set on the device as bytes: a batch is gathered and normalised there, and nothing but
/// indices travels.
#[derive(Debug)]
pub struct DeviceSet {
    images: ImageStorage,
    /// 255 as float32 [1] on the device. Not a plain number: CUDA turns division by one of those
    /// into multiplication by a rounded reciprocal, and the pixels would differ in their last bit.
    divisor: Tensor,
    height: i64,
    width: i64,
}

#[derive(Debug)]
enum ImageStorage {
    /// On the CPU: the set's own memory.
    Host(ImageSet),
    /// Bytes [n, height * width] and labels as i64 [n].
    Device { pixels: Tensor, labels: Tensor },
}

/// The largest number of pixels that one thread normalises alone: waking libtorch's other threads
/// would take longer.
const MAX_SINGLE_THREAD: usize = 1 << 18;

impl DeviceSet {
    /// Copies the set to the device.
    pub fn new(set: &ImageSet, device: Device) -> Self {
        let images = match device {
            Device::Cpu => ImageStorage::Host(set.clone()),
            _ => ImageStorage::Device {
                pixels: bytes(set, 0..set.len()).to_device(device),
                labels: labels(set, 0..set.len()).to_device(device),
            },
        };
        Self {
            images,
            divisor: Tensor::from_slice(&[255f32]).to_device(device),
            height: set.height() as i64,
            width: set.width() as i64,
        }
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        match &self.images {
            ImageStorage::Host(set) => set.len(),
            ImageStorage::Device { labels, .. } => labels.size()[0] as usize,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn device(&self) -> Device {
        self.divisor.device()
    }

    /// The images at `indices` (i64 `[b]`, on the same device), in `kind`, a floating type.
    /// Panics on an index beyond the set.
    pub fn gather(&self, indices: &Tensor, kind: Kind) -> Batch {
        match &self.images {
            ImageStorage::Host(set) => {
                let indices = Vec::<i64>::try_from(indices).expect("indices are a row of whole numbers");
                self.picked(set, &indices, kind)
            }
            ImageStorage::Device { pixels, labels } => Batch {
                images: self.normalized(&pixels.index_select(0, indices), kind),
                labels: labels.index_select(0, indices),
            },
        }
    }

    /// The images from `start` to before `end`, as they lie in the set; an end beyond the set is
    /// cut short.
    pub fn range(&self, start: usize, end: usize, kind: Kind) -> Batch {
        let end = end.min(self.len());
        let start = start.min(end);
        let (from, length) = (start as i64, (end - start) as i64);
        match &self.images {
            ImageStorage::Host(set) => Batch {
                images: self.normalized(&bytes(set, start..end), kind),
                labels: labels(set, start..end),
            },
            ImageStorage::Device { pixels, labels } => Batch {
                images: self.normalized(&pixels.narrow(0, from, length), kind),
                labels: labels.narrow(0, from, length),
            },
        }
    }

    fn picked(&self, set: &ImageSet, indices: &[i64], kind: Kind) -> Batch {
        let labels: Vec<i64> = indices.iter().map(|&index| set.label(index as usize).into()).collect();
        let (count, area) = (indices.len() as i64, set.dims().area());
        // The bytes first: short loops over rows that lie far apart let the processor fetch several at once.
        let mut pixels: Vec<u8> = Vec::with_capacity(indices.len() * area);
        indices.iter().for_each(|&index| pixels.extend_from_slice(set.image(index as usize)));
        let images = match pixels.len() {
            ..=MAX_SINGLE_THREAD => {
                let values: Vec<f32> = pixels.iter().map(|&pixel| f32::from(pixel) / 255.0).collect();
                self.shaped(count, &Tensor::from_slice(&values).to_kind(kind))
            }
            _ => self.normalized(&Tensor::from_slice(&pixels).view([count, area as i64]), kind),
        };
        Batch { images, labels: Tensor::from_slice(&labels) }
    }

    /// Bytes [b, height * width] to float32(pixel) / float32(255), then to `kind`: the reference
    /// numbers were made so, in float64 too.
    fn normalized(&self, bytes: &Tensor, kind: Kind) -> Tensor {
        self.shaped(bytes.size()[0], &bytes.to_kind(Kind::Float).g_div_(&self.divisor).to_kind(kind))
    }

    /// Values of `b` images as [b, 1, height, width].
    fn shaped(&self, b: i64, images: &Tensor) -> Tensor {
        let (h, w) = (self.height, self.width);
        // channels_last by hand: with one channel permute and contiguous leave the strides of NCHW,
        // and the convolutions behind would run at half the speed.
        images.as_strided([b, 1, h, w], [h * w, 1, w, 1], None)
    }
}

/// Returns a range of a set as bytes [n, height * width] on the CPU.
fn bytes(set: &ImageSet, range: Range<usize>) -> Tensor {
    let area = set.dims().area();
    let part = &set.pixels()[range.start * area..range.end * area];
    Tensor::from_slice(part).view([range.len() as i64, area as i64])
}

/// Returns the labels of a range as i64 [n].
fn labels(set: &ImageSet, range: Range<usize>) -> Tensor {
    let labels: Vec<i64> = set.labels()[range].iter().map(|&label| i64::from(label)).collect();
    Tensor::from_slice(&labels)
}

#[cfg(test)]
mod tests {
    use super::{super::dataset::Dims, *};

    /// Three images of 2 × 2 pixels: 0…3, 4…7, 8…11.
    fn three() -> DeviceSet {
        let dims = Dims { height: 2, width: 2, classes: 10 };
        DeviceSet::new(&ImageSet::new(dims, (0..12).collect(), vec![7, 8, 9]).unwrap(), Device::Cpu)
    }

    fn values(tensor: &Tensor) -> Vec<f64> {
        Vec::try_from(tensor.to_kind(Kind::Double).contiguous().view(-1)).unwrap()
    }

    #[test]
    fn pixels_are_divided_in_float32_whatever_the_kind() {
        let dims = Dims { height: 16, width: 16, classes: 2 };
        let set = DeviceSet::new(&ImageSet::new(dims, (0..=255).collect(), vec![1]).unwrap(), Device::Cpu);
        let expected: Vec<f64> = (0..=255u8).map(|pixel| f64::from(f32::from(pixel) / 255f32)).collect();
        for kind in [Kind::Float, Kind::Double] {
            for batch in [set.range(0, 1, kind), set.gather(&Tensor::from_slice(&[0i64]), kind)] {
                assert_eq!(batch.images.kind(), kind);
                assert_eq!(values(&batch.images), expected);
            }
        }
    }

    #[test]
    fn a_gathered_batch_holds_the_requested_images_in_channels_last() {
        let batch = three().gather(&Tensor::from_slice(&[2i64, 0]), Kind::Float);
        assert_eq!(batch.images.size(), [2, 1, 2, 2]);
        assert_eq!(batch.images.stride(), [4, 1, 2, 1]);
        let bytes: Vec<f64> = values(&batch.images).iter().map(|value| (value * 255.0).round()).collect();
        assert_eq!(bytes, [8., 9., 10., 11., 0., 1., 2., 3.]);
        assert_eq!(Vec::<i64>::try_from(&batch.labels).unwrap(), [9, 7]);
    }

    #[test]
    fn a_large_batch_is_gathered_as_a_small_one() {
        let dims = Dims { height: 64, width: 64, classes: 2 };
        let set = ImageSet::new(dims, (0..8192).map(|at| (at % 251) as u8).collect(), vec![0, 1]).unwrap();
        let set = DeviceSet::new(&set, Device::Cpu);
        let many = [1i64, 0].repeat(MAX_SINGLE_THREAD / 4096);
        let large = set.gather(&Tensor::from_slice(&many), Kind::Float);
        let small = set.gather(&Tensor::from_slice(&many[..2]), Kind::Float);
        assert_eq!(large.images.stride(), small.images.stride());
        assert_eq!(large.images.narrow(0, 6, 2), small.images);
        assert_eq!(large.labels.narrow(0, 6, 2), small.labels);
    }

    #[test]
    fn a_range_is_clipped_at_the_end_and_leaves_the_set_unchanged() {
        let set = three();
        assert_eq!(Vec::<i64>::try_from(&set.range(2, 9, Kind::Float).labels).unwrap(), [9]);
        assert_eq!(set.range(3, 4, Kind::Float).images.size(), [0, 1, 2, 2]);
        let before = values(&set.range(0, 3, Kind::Float).images);
        assert_eq!(values(&set.range(0, 3, Kind::Float).images), before);
        assert_eq!(set.len(), 3);
    }

    #[test]
    fn an_epoch_order_is_a_function_of_seed_and_epoch() {
        assert_eq!(epoch_order(3, Order::File, 1, 1), [0, 1, 2]);
        let order = epoch_order(1000, Order::Shuffled, 1, 1);
        assert_eq!(order, epoch_order(1000, Order::Shuffled, 1, 1));
        assert_ne!(order, epoch_order(1000, Order::Shuffled, 1, 2));
        assert_ne!(order, epoch_order(1000, Order::Shuffled, 2, 1));
        let mut sorted = order;
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..1000));
    }
}
