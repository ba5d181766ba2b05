//! Requests to inspect and compare networks, and their results.

use crate::{
    data::{DatasetSpec, Split},
    ids::{DatasetName, ModelName, RunId, Version, VersionRef},
    inspect::{
        Channels, Difference, Drawing, DrawingKind, Gradients, Health, Occlusion, OcclusionConfig,
        ParameterValues, Report, Saliency,
    },
    nn::Precision,
    registry::ModelRef,
    train::{RunState, StepId},
};

/// The network that an analysis is about.
#[derive(Debug, Clone)]
pub enum Target {
    Model(ModelRef),
    /// The newest weights of a run.
    Run(RunId),
}

/// An inspection that a caller requests: its target, and its depth.
#[derive(Debug, Clone)]
pub struct InspectJob {
    pub target: Target,
    pub input: InspectInput,
    /// The batch size N in the reported shapes and multiply-adds.
    pub batch_size: usize,
    pub depth: Depth,
    pub attributions: AttributionRequest,
    /// Whether to examine the network for findings over a whole split.
    pub health: Option<HealthJob>,
}

/// The image that is fed through the network; used only if more than shapes and health is requested.
#[derive(Debug, Clone)]
pub enum InspectInput {
    /// Test image 0 of the data set that the network was trained on.
    Default,
    /// Pixels in [0, 1], in row-major order.
    Image(Vec<f32>),
    /// An image of a data set, by default of the one that the network was trained on. `index` counts from 0.
    Index { dataset: Option<DatasetSpec>, split: Split, index: usize },
}

/// The depth of an inspection.
#[derive(Debug, Clone)]
pub enum Depth {
    Shapes,
    Contents {
        /// Layer names; empty for all layers.
        layers: Vec<String>,
        channels: Channels,
        /// The number of images over which the share of zeros is counted; by default
        /// `InspectJob::SAMPLE_IMAGES`, or none if the training data set is not known.
        sample_images: Option<usize>,
        /// The number of bins of each histogram; 0 for no histograms.
        histogram_bins: usize,
        /// The largest number of values in the response.
        max_values: usize,
    },
}

/// The attributions that a caller requests for the prediction of one image.
#[derive(Debug, Clone, Default)]
pub struct AttributionRequest {
    pub gradients: bool,
    /// The label of an image that the caller gives.
    pub label: Option<usize>,
    pub saliency: bool,
    pub occlusion: Option<OcclusionConfig>,
    /// The class that saliency and occlusion explain; by default the predicted one.
    pub class: Option<usize>,
    pub drawings: Option<DrawingJob>,
}

/// The drawings that a caller requests.
#[derive(Debug, Clone)]
pub struct DrawingJob {
    pub kinds: Vec<DrawingKind>,
    /// Layer names; empty for all layers.
    pub layers: Vec<String>,
    pub channels: Channels,
}

/// Over which images to examine a network.
#[derive(Debug, Clone)]
pub struct HealthJob {
    /// The data set; by default the one that the network was trained on.
    pub dataset: Option<DatasetSpec>,
    pub split: Split,
    /// The largest number of images; by default all of the split.
    pub max_images: Option<usize>,
}

/// The network that an analysis was about.
#[derive(Debug, Clone)]
pub struct SubjectInfo {
    pub model: ModelName,
    /// The version; none for weights of a run that are no version.
    pub version: Option<Version>,
    pub run: Option<RunStep>,
    pub class_names: Vec<String>,
    pub precision: Precision,
}

/// The step of a run that its weights are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunStep {
    pub run: RunId,
    pub state: RunState,
    pub at: StepId,
    pub origin: WeightsOrigin,
}

/// Where the weights of a run were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightsOrigin {
    Training,
    Checkpoint,
    Version,
}

/// A network layer by layer, and what else was requested.
#[derive(Debug, Clone)]
pub struct Inspection {
    pub subject: SubjectInfo,
    pub report: Report,
    /// The label of the image, if it comes from a data set; with contents or gradients only.
    pub label: Option<usize>,
    pub attributions: Attributions,
    pub health: Option<HealthReport>,
}

/// The attributions that were computed for the prediction of one image.
#[derive(Debug, Clone, Default)]
pub struct Attributions {
    pub gradients: Option<Gradients>,
    pub saliency: Option<Saliency>,
    pub occlusion: Option<Occlusion>,
    pub drawings: Vec<Drawing>,
}

/// The findings about a network, and the images over which they were made.
#[derive(Debug, Clone)]
pub struct HealthReport {
    pub health: Health,
    pub dataset: DatasetName,
    pub split: Split,
    pub initial: InitialWeightsOrigin,
}

/// Where the weights before training came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InitialWeightsOrigin {
    /// Drawn at random from the seed.
    Random,
    Version(VersionRef),
    Unknown,
}

/// Which parameters of a network to read.
#[derive(Debug, Clone)]
pub struct ParametersJob {
    pub target: Target,
    /// Full parameter names; empty for all parameters.
    pub names: Vec<String>,
}

/// Which versions to compare, and over which images.
#[derive(Debug, Clone)]
pub struct ComparisonJob {
    /// By default the version that `after` was trained from, else the one before it.
    pub before: Option<ModelRef>,
    pub after: ModelRef,
    /// The data set; by default the one that `after` was trained on.
    pub dataset: Option<DatasetSpec>,
    pub split: Split,
    pub max_images: usize,
    pub max_changed: usize,
}

/// The differences between two versions.
#[derive(Debug, Clone)]
pub struct VersionComparison {
    pub before: VersionRef,
    pub after: VersionRef,
    pub dataset: DatasetName,
    pub split: Split,
    pub class_names: Vec<String>,
    pub difference: Difference,
}

/// The values of a network's parameters.
#[derive(Debug)]
pub struct ParametersReport {
    pub subject: SubjectInfo,
    pub parameters: Vec<ParameterValues>,
}
