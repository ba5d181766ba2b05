//! Gradients, saliency, occlusion and drawings as the contract shows them.

use crate::{
    ids::FieldError,
    inspect::{Drawing, Gradients, LayerGradient, Occlusion, OcclusionConfig, ParameterGradient, Saliency},
    pb::digitd::v1,
    server::convert::shared::{
        enums::ContractEnum,
        field::{ANY, count, int, ints},
    },
};

/// The patch of an occlusion. Whether it fits the image is checked where the network is known.
pub fn occlusion_config(request: v1::OcclusionRequest) -> Result<OcclusionConfig, FieldError> {
    let default = OcclusionConfig::default();
    let size = |field: &str, value, default: usize| {
        count(&format!("occlusion.{field}"), value, 0..=ANY, default as u32).map(|size| size as usize)
    };
    let patch = size("patch_size", request.patch_size, default.patch)?;
    let stride = size("stride", request.stride, default.stride.min(patch))?;
    Ok(OcclusionConfig { patch, stride, fill: request.fill.unwrap_or(default.fill) })
}

pub fn from_gradients(gradients: Gradients) -> v1::Gradients {
    v1::Gradients {
        label: gradients.label.map(int),
        loss: Some(gradients.loss),
        norm: Some(gradients.norm),
        layers: gradients.layers.into_iter().map(from_layer).collect(),
    }
}

fn from_layer(layer: LayerGradient) -> v1::LayerGradient {
    let parameter = |parameter: ParameterGradient| v1::ParameterGradient {
        name: parameter.name,
        norm: Some(parameter.norm),
        max_abs: Some(parameter.max_abs),
        zero_fraction: Some(parameter.zero_fraction),
        parameter_norm: Some(parameter.parameter_norm),
    };
    v1::LayerGradient {
        name: layer.name,
        norm: Some(layer.norm),
        parameters: layer.parameters.into_iter().map(parameter).collect(),
    }
}

pub fn from_saliency(saliency: Saliency) -> v1::Saliency {
    v1::Saliency {
        target_class: Some(int(saliency.class)),
        logit: Some(saliency.logit),
        shape: ints(&[saliency.height, saliency.width]),
        gradient: saliency.gradient,
        norm: Some(saliency.norm),
    }
}

pub fn from_occlusion(occlusion: Occlusion) -> v1::Occlusion {
    v1::Occlusion {
        target_class: Some(int(occlusion.class)),
        probability: Some(occlusion.probability),
        patch_size: int(occlusion.config.patch),
        stride: int(occlusion.config.stride),
        fill: Some(occlusion.config.fill),
        shape: ints(&[occlusion.rows.len(), occlusion.columns.len()]),
        drops: occlusion.drops,
    }
}

pub fn from_drawing(drawing: Drawing) -> v1::Drawing {
    v1::Drawing {
        kind: drawing.kind.to_wire(),
        layer: drawing.layer.unwrap_or_default(),
        title: drawing.title,
        width: int(drawing.png.width),
        height: int(drawing.png.height),
        png: drawing.png.bytes.into(),
    }
}
