//! Versions as ONNX files. The format itself is written by `checkpoint::onnx`.

use tonic::Status;

use super::status;
use crate::{
    checkpoint::onnx::{OnnxModel, encode},
    engine::Error,
    registry::Manifest,
};

/// The file. Errors where the weights are not those of the version's network.
pub async fn export(manifest: Manifest, weights: Vec<u8>) -> Result<Vec<u8>, Status> {
    // Converting millions of numbers would block an async thread.
    let encoding = tokio::task::spawn_blocking(move || {
        encode(model(&manifest), &weights).map_err(|error| Error::Corrupt {
            message: format!(
                "version {} of {} cannot be exported: {error}",
                manifest.version, manifest.model
            ),
        })
    });
    Ok(encoding.await.map_err(status::lost)??)
}

fn model(manifest: &Manifest) -> OnnxModel<'_> {
    OnnxModel {
        name: &manifest.model,
        version: manifest.version,
        network: &manifest.network,
        height: manifest.height,
        width: manifest.width,
        classes: manifest.classes,
        class_names: &manifest.class_names,
        precision: manifest.precision,
        weights_sha256: &manifest.weights_sha256,
    }
}
