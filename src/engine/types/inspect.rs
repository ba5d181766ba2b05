//! What callers ask of a network's inside, and get.

use crate::{
    data::{DatasetSpec, Split},
    ids::{DatasetName, ModelName, RunId, Version, VersionRef},
    inspect::{
        Channels, Difference, Drawing, DrawingKind, Gradients, Health, Occlusion, OcclusionConfig, Report,
        Saliency, Stored,
    },
    nn::Precision,
    registry::ModelRef,
    train::{RunState, StepId},
};

/// Whose network.
#[derive(Debug, Clone)]
pub enum Target {
    Model(ModelRef),
    /// Its newest weights.
    Run(RunId),
}

/// What to show, and how deeply.
#[derive(Debug, Clone)]
pub struct InspectJob {
    pub target: Target,
    pub input: InspectInput,
    /// N of the shapes and of the multiply-adds.
    pub batch_size: usize,
    pub depth: Depth,
    pub study: StudyJob,
    /// Looked for over a whole split.
    pub health: Option<HealthJob>,
}

/// The picture that goes through the network; of account where anything but shapes and health is asked
/// for.
#[derive(Debug, Clone)]
pub enum InspectInput {
    /// Test image 0 of the data set that the network was trained on.
    Default,
    /// Values in [0, 1], row by row.
    Picture(Vec<f32>),
    /// `dataset` none: the one that the network was trained on. `index` counts from 0.
    Index { dataset: Option<DatasetSpec>, split: Split, index: usize },
}

/// How deeply to inspect.
#[derive(Debug, Clone)]
pub enum Depth {
    Shapes,
    Contents {
        /// By name; empty for all.
        layers: Vec<String>,
        channels: Channels,
        /// Images that the share of zeros is counted over; none for as many as is usual.
        sample_images: Option<usize>,
        /// Bars of each histogram; 0 for none.
        histogram_bins: usize,
        /// Most numbers of the answer.
        most_numbers: usize,
    },
}

/// What the answer for one picture rests on.
#[derive(Debug, Clone, Default)]
pub struct StudyJob {
    pub gradients: bool,
    /// Of a picture of the caller's own.
    pub label: Option<usize>,
    pub saliency: bool,
    pub occlusion: Option<OcclusionConfig>,
    /// That saliency and occlusion are about; none for the one that is answered.
    pub class: Option<usize>,
    pub drawings: Option<DrawingJob>,
}

/// What to draw.
#[derive(Debug, Clone)]
pub struct DrawingJob {
    pub kinds: Vec<DrawingKind>,
    /// By name; empty for all.
    pub layers: Vec<String>,
    pub channels: Channels,
}

/// Over which images to look for what is wrong.
#[derive(Debug, Clone)]
pub struct HealthJob {
    /// None: what the network was trained on.
    pub dataset: Option<DatasetSpec>,
    pub split: Split,
    /// None: all of the split.
    pub max_images: Option<usize>,
}

/// Whose network it was.
#[derive(Debug, Clone)]
pub struct Shown {
    pub model: ModelName,
    /// None where it is a run's weights of no version.
    pub version: Option<Version>,
    pub run: Option<RunMoment>,
    pub class_names: Vec<String>,
    pub precision: Precision,
}

/// When in a run its weights were those.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunMoment {
    pub run: RunId,
    pub state: RunState,
    pub at: StepId,
    pub origin: WeightsOrigin,
}

/// Where the weights of a run come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightsOrigin {
    Training,
    Checkpoint,
    Version,
}

/// A network, layer by layer, and what else was asked for.
#[derive(Debug, Clone)]
pub struct Inspected {
    pub shown: Shown,
    pub report: Report,
    /// The label of the picture, where it comes from a data set; with contents or gradients only.
    pub label: Option<usize>,
    pub study: Studied,
    pub health: Option<StudiedHealth>,
}

/// What was asked for of it.
#[derive(Debug, Clone, Default)]
pub struct Studied {
    pub gradients: Option<Gradients>,
    pub saliency: Option<Saliency>,
    pub occlusion: Option<Occlusion>,
    pub drawings: Vec<Drawing>,
}

/// What is wrong with a network, and over which images that was found.
#[derive(Debug, Clone)]
pub struct StudiedHealth {
    pub health: Health,
    pub dataset: DatasetName,
    pub split: Split,
    pub start: StartFrom,
}

/// What is known of the weights before training.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartFrom {
    Drawn,
    Version(VersionRef),
    Unknown,
}

/// Whose values to give.
#[derive(Debug, Clone)]
pub struct ParametersJob {
    pub target: Target,
    /// By full name; empty for all.
    pub names: Vec<String>,
}

/// Which versions to compare, over which images.
#[derive(Debug, Clone)]
pub struct ComparisonJob {
    /// None: the one that `after` was trained from, else the one before it.
    pub before: Option<ModelRef>,
    pub after: ModelRef,
    /// None: what `after` was trained on.
    pub dataset: Option<DatasetSpec>,
    pub split: Split,
    pub max_images: usize,
    pub max_changed: usize,
}

/// Two versions beside each other.
#[derive(Debug, Clone)]
pub struct Compared {
    pub before: VersionRef,
    pub after: VersionRef,
    pub dataset: DatasetName,
    pub split: Split,
    pub class_names: Vec<String>,
    pub difference: Difference,
}

/// The values of a network.
pub type Values = (Shown, Vec<Stored>);
