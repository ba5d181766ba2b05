//! Why a picture was not drawn.

/// The picture could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("the image cannot be drawn: {0}")]
pub struct Error(pub(super) String);
