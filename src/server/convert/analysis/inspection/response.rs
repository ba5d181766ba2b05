//! The response to an inspection. Its parts are in `shared::report`, `attribution` and `findings`.

use crate::{
    engine::{Inspection, SubjectInfo},
    pb::digitd::v1,
    server::convert::{
        analysis::{attribution, findings, target::from_run_step},
        shared::{enums::ContractEnum, field::int, report::from_report},
    },
};

pub fn from_inspection(inspected: Inspection) -> v1::InspectResponse {
    let SubjectInfo { model, version, run, class_names, precision } = inspected.subject;
    let study = inspected.attributions;
    v1::InspectResponse {
        name: model.to_string(),
        version: version.map(|version| int(version.get())).unwrap_or_default(),
        label: inspected.label.map(int),
        label_name: inspected.label.and_then(|label| class_names.get(label).cloned()),
        class_names,
        run: run.map(from_run_step),
        gradients: study.gradients.map(attribution::from_gradients),
        saliency: study.saliency.map(attribution::from_saliency),
        occlusion: study.occlusion.map(attribution::from_occlusion),
        health: inspected.health.map(findings::from_health),
        drawings: study.drawings.into_iter().map(attribution::from_drawing).collect(),
        precision: precision.to_wire(),
        ..from_report(inspected.report)
    }
}
