//! Models, their configuration and their statistics, in the form that Triton gives them.

use std::time::UNIX_EPOCH;

use super::fields::{INPUT, LABEL, PROBABILITIES};
use crate::{
    engine::{BatchConfig, DurationTotal, ModelStats, PhaseTotals, VersionStats},
    ids::{ModelName, Version},
    pb::inference::{
        DataType, InferBatchStatistics, InferStatistics, ModelConfig, ModelDynamicBatching, ModelInput,
        ModelInstanceGroup, ModelMetadataResponse, ModelOutput, ModelParameter, ModelStatistics,
        ModelTransactionPolicy, ModelVersionPolicy, ServerMetadataResponse, StatisticDuration,
        model_config::SchedulingChoice,
        model_input::Format,
        model_instance_group::Kind,
        model_metadata_response::TensorMetadata,
        model_version_policy::{All, PolicyChoice},
        repository_index_response::ModelIndex,
    },
    registry::Manifest,
    server::convert::shared::{field::int, images::MAX_IMAGES_PER_CALL},
};

/// The protocol asks for `<project>_<format>`.
const PLATFORM: &str = "digitd_safetensors";

/// The extensions of the protocol that this server implements completely.
const EXTENSIONS: [&str; 3] = ["classification", "model_configuration", "statistics"];

/// The size of the batch dimension, which may be any number.
const ANY: i64 = -1;

pub fn server_metadata() -> ServerMetadataResponse {
    ServerMetadataResponse {
        name: "digitd".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        extensions: EXTENSIONS.map(str::to_owned).to_vec(),
    }
}

/// `versions` begins with the oldest.
pub fn metadata(manifest: &Manifest, versions: Vec<Version>) -> ModelMetadataResponse {
    let tensor = |name: &str, datatype: &str, one: &[usize]| TensorMetadata {
        name: name.to_owned(),
        datatype: datatype.to_owned(),
        shape: [ANY].into_iter().chain(one.iter().map(|length| *length as i64)).collect(),
    };
    ModelMetadataResponse {
        name: manifest.model.to_string(),
        versions: versions.iter().map(Version::to_string).collect(),
        platform: PLATFORM.to_owned(),
        inputs: vec![tensor(INPUT, "UINT8", &[1, manifest.height, manifest.width])],
        outputs: vec![tensor(PROBABILITIES, "FP32", &[manifest.classes]), tensor(LABEL, "INT64", &[])],
    }
}

pub fn config(manifest: &Manifest, batching: &BatchConfig, on_gpu: bool) -> ModelConfig {
    let output = |name: &str, data_type: DataType, dims: &[usize]| ModelOutput {
        name: name.to_owned(),
        data_type: data_type.into(),
        dims: dims.iter().map(|length| *length as i64).collect(),
    };
    let workers = ModelInstanceGroup {
        name: "workers".to_owned(),
        count: int(batching.workers),
        kind: if on_gpu { Kind::Gpu } else { Kind::Cpu }.into(),
    };
    let dynamic_batching = ModelDynamicBatching {
        preferred_batch_size: vec![int(batching.max_batch_size)],
        max_queue_delay_microseconds: u64::try_from(batching.max_queue_delay.as_micros()).unwrap_or(u64::MAX),
    };
    ModelConfig {
        name: manifest.model.to_string(),
        platform: PLATFORM.to_owned(),
        backend: "digitd".to_owned(),
        version_policy: Some(ModelVersionPolicy { policy_choice: Some(PolicyChoice::All(All {})) }),
        max_batch_size: int(MAX_IMAGES_PER_CALL),
        input: vec![ModelInput {
            name: INPUT.to_owned(),
            data_type: DataType::TypeUint8.into(),
            format: Format::Nchw.into(),
            dims: vec![1, manifest.height as i64, manifest.width as i64],
        }],
        output: vec![
            output(PROBABILITIES, DataType::TypeFp32, &[manifest.classes]),
            output(LABEL, DataType::TypeInt64, &[]),
        ],
        instance_group: vec![workers],
        scheduling_choice: Some(SchedulingChoice::DynamicBatching(dynamic_batching)),
        parameters: facts(manifest).collect(),
        model_transaction_policy: Some(ModelTransactionPolicy { decoupled: false }),
    }
}

/// What Triton has no field for.
fn facts(manifest: &Manifest) -> impl Iterator<Item = (String, ModelParameter)> {
    let names = serde_json::to_string(&manifest.class_names).expect("a list of texts is JSON");
    let names = (!manifest.class_names.is_empty()).then_some(("class_names", names));
    let facts = [
        ("version", manifest.version.to_string()),
        ("weights_sha256", manifest.weights_sha256.clone()),
        ("total_parameters", manifest.total_parameters.to_string()),
    ];
    let named = |(key, fact): (&str, String)| (key.to_owned(), ModelParameter { string_value: fact });
    facts.into_iter().chain(names).map(named)
}

pub fn statistics(statistics: &VersionStats) -> ModelStatistics {
    let ModelStats { success, fail, queue, phases, last, batches } = &statistics.stats;
    let last = last.and_then(|last| last.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    ModelStatistics {
        name: statistics.model.to_string(),
        version: statistics.version.to_string(),
        last_inference: u64::try_from(last.as_millis()).unwrap_or(u64::MAX),
        inference_count: statistics.stats.images(),
        execution_count: statistics.stats.executions(),
        inference_stats: Some(InferStatistics {
            success: duration(*success),
            fail: duration(*fail),
            queue: duration(*queue),
            compute_input: duration(phases.input),
            compute_infer: duration(phases.network),
            compute_output: duration(phases.output),
        }),
        batch_stats: batches.iter().map(|batch| batch_statistics(batch.images, batch.phases)).collect(),
    }
}

fn batch_statistics(images: usize, phases: PhaseTotals) -> InferBatchStatistics {
    InferBatchStatistics {
        batch_size: images as u64,
        compute_input: duration(phases.input),
        compute_infer: duration(phases.network),
        compute_output: duration(phases.output),
    }
}

fn duration(span: DurationTotal) -> Option<StatisticDuration> {
    let ns = u64::try_from(span.total.as_nanos()).unwrap_or(u64::MAX);
    Some(StatisticDuration { count: span.count, ns })
}

/// One version of the registry. It is ready whether or not it is `loaded`, because its first request loads it.
pub fn index(model: &ModelName, version: Version, loaded: bool) -> ModelIndex {
    let reason = if loaded { "" } else { "not loaded: its first request loads it" };
    ModelIndex {
        name: model.to_string(),
        version: version.to_string(),
        state: "READY".to_owned(),
        reason: reason.to_owned(),
    }
}
