//! Why there is nothing to show.

use crate::ids::FieldError;

/// Why there is nothing to show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("there is no layer {name:?}: the layers are {known}")]
    UnknownLayer { name: String, known: String },
    #[error(
        "channel {channel} is in none of the layers shown: the widest has {widest} channels, counted from 0"
    )]
    UnknownChannel { channel: i64, widest: i64 },
    #[error(
        "the contents would be {given} numbers, and the answer holds {most}: name fewer layers or channels, \
         or raise max_answer_bytes"
    )]
    TooMuch { given: usize, most: usize },
    #[error("class {class} is none of the network's {classes}, counted from 0")]
    UnknownClass { class: usize, classes: usize },
    #[error("{0}")]
    Occlusion(FieldError),
    #[error("the drawing could not be made: {0}")]
    Drawing(String),
    #[error("the image has {given} pixels; the network takes {expected}")]
    PictureSize { given: usize, expected: i64 },
}
