//! Analyses of versions and runs: evaluation with the gate before an alias, inspection, comparison. Each is a job
//! on the analysis thread with its own copy of the network.

mod comparison;
mod context;
mod evaluation;
mod evaluation_report;
mod gate;
mod inspection;
mod model_info;
mod requests;
mod service;

pub use evaluation::{EvaluateJob, EvaluationProgress};
pub use evaluation_report::{EvaluationReport, MisclassifiedImage, SecondVersion, TemperatureFit};
pub use gate::{Gate, Promotion};
pub use requests::{
    AttributionRequest, Attributions, ComparisonJob, Depth, DrawingJob, HealthJob, HealthReport,
    InitialWeightsOrigin, InspectInput, InspectJob, Inspection, ParametersJob, ParametersReport, RunStep,
    SubjectInfo, Target, VersionComparison, WeightsOrigin,
};
pub use service::{Analysis, MAX_BATCH_SIZE};
