//! Pictures before and after normalisation, and how they are to be read.

/// The normalisation of a picture to the size that a network takes, 28 × 28 for MNIST's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Normalization {
    /// The picture is used unchanged: it must have the size of the network's images, with background 0 and ink 255.
    None,
    /// The whole picture is scaled to that size, and neither inverted nor centred.
    Scale,
    /// The ink (bright on dark) is scaled into 20 × 20 and centred by its mass.
    Center,
    /// As `Center`, and before that dark on light is inverted, the contrast stretched, and
    /// noise and specks dropped.
    Auto,
}

/// A grey picture of any size, one byte a pixel from 0 (black) to 255 (white), row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrayPicture {
    pub width: usize,
    pub height: usize,
    /// `width * height` bytes.
    pub pixels: Vec<u8>,
}

/// An image as the network takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigitImage {
    /// A byte for each pixel of the frame, row by row, 0 background to 255 ink.
    pub pixels: Vec<u8>,
    /// The quality; none if a picture is scaled as a whole, since what a good one is depends on its
    /// data set.
    pub quality: Option<Quality>,
}

/// Whether a picture shows one digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quality {
    Good,
    /// Nothing but background, or its grain.
    Blank,
    /// Shapes beside or above each other that cannot be the strokes of one digit.
    SeveralShapes,
    /// Ink of a few pixels.
    TooSmall,
    /// Ink that hardly differs from the background.
    LowContrast,
    /// Ink over most of its box: a block or a photograph rather than strokes.
    NotStrokes,
    /// A long straight line that touches the digit and may be a border or a stroke.
    Border,
    /// A light rim, in an image that is used as it is and must be light on dark.
    LightBackground,
}

/// The conversion of colours to grey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grayscale {
    /// The luma (ITU-R BT.709) over white.
    Luma,
    /// The projection in which ink and background differ most, whatever their colours.
    Contrast,
}
