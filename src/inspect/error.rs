//! The errors of an inspection.

use crate::ids::FieldError;

/// The reason why a network cannot be inspected as requested.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("there is no layer {name:?}: the layers are {known}")]
    UnknownLayer { name: String, known: String },
    #[error(
        "channel {channel} is in none of the layers shown: the widest has {widest} channels, counted from 0"
    )]
    UnknownChannel { channel: i64, widest: i64 },
    #[error(
        "the contents would be {values} numbers, and the response holds {max}: name fewer layers or channels, \
         or raise max_answer_bytes"
    )]
    TooMuch { values: usize, max: usize },
    #[error("class {class} is none of the network's {classes}, counted from 0")]
    UnknownClass { class: usize, classes: usize },
    #[error("{0}")]
    Occlusion(FieldError),
    #[error("the drawing could not be made: {0}")]
    Drawing(String),
    #[error("the image has {actual} pixels; the network takes {expected}")]
    ImageSize { actual: usize, expected: i64 },
}
