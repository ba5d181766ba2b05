//! The size of the images of a set and the number of its classes, and the limits of both.

/// Largest height and width of an image in a set, in pixels.
pub const MAX_SIDE: usize = 64;

/// Fewest and most classes of a set.
pub const CLASSES: std::ops::RangeInclusive<usize> = 2..=100;

/// The size of every image of a set, and how many classes its labels count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dims {
    pub height: usize,
    pub width: usize,
    pub classes: usize,
}

impl Dims {
    /// MNIST's: 28 × 28 pixels, ten digits.
    pub const MNIST: Self = Self { height: 28, width: 28, classes: 10 };

    /// Pixels of one image.
    pub fn area(self) -> usize {
        self.height * self.width
    }
}
