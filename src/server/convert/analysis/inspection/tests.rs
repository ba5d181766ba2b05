//! Tests of requests to inspect: what is rejected, and which field is named.

use super::*;
use crate::{
    engine::{Depth, Target},
    pb::digitd::v1::{self, inspect_request::Input},
};

fn contents() -> v1::InspectRequest {
    v1::InspectRequest { contents: true, ..v1::InspectRequest::default() }
}

fn field(request: v1::InspectRequest) -> String {
    inspect_request(request).unwrap_err().field
}

#[test]
fn fields_of_an_inspection_are_checked_by_name() {
    let field = |change: fn(&mut v1::InspectRequest)| {
        let mut request = contents();
        change(&mut request);
        field(request)
    };
    assert_eq!(field(|request| request.batch_size = Some(0)), "batch_size");
    assert_eq!(field(|request| request.channels = vec![0, -1]), "channels[1]");
    assert_eq!(field(|request| request.channels = vec![0; 4097]), "channels");
    assert_eq!(field(|request| request.layers = vec![String::new(); 65]), "layers");
    assert_eq!(field(|request| request.channel_seed = Some(-1)), "channel_seed");
    assert_eq!(field(|request| request.sample_images = Some(60_001)), "sample_images");
    assert_eq!(field(|request| request.histogram_bins = Some(257)), "histogram_bins");
    assert_eq!(field(|request| request.max_answer_bytes = Some(1000)), "max_answer_bytes");
    assert_eq!(field(|request| request.drawings = vec![1, 1]), "drawings[1]");
    assert_eq!(field(|request| request.drawings = vec![0]), "drawings[0]");
    assert_eq!(field(|request| request.drawings = vec![99]), "drawings[0]");
    let at = v1::DatasetIndex { index: -1, ..v1::DatasetIndex::default() };
    let request = v1::InspectRequest { input: Some(Input::DatasetIndex(at)), ..contents() };
    assert_eq!(inspect_request(request).unwrap_err().field, "dataset_index.index");
    let health = |max_images| Some(v1::HealthRequest { max_images, ..v1::HealthRequest::default() });
    let request = v1::InspectRequest { health: health(Some(0)), ..v1::InspectRequest::default() };
    assert_eq!(inspect_request(request).unwrap_err().field, "health.max_images");
}

#[test]
fn options_of_parts_that_are_not_requested_are_rejected_by_name() {
    let field = |change: fn(&mut v1::InspectRequest)| {
        let mut request = v1::InspectRequest::default();
        change(&mut request);
        assert!(inspect_request(v1::InspectRequest { contents: true, ..request.clone() }).is_ok());
        field(request)
    };
    assert_eq!(field(|request| request.layers = vec!["conv1".to_owned()]), "layers");
    assert_eq!(field(|request| request.channels = vec![0]), "channels");
    assert_eq!(field(|request| request.channel_seed = Some(0)), "channel_seed");
    assert_eq!(field(|request| request.sample_images = Some(0)), "sample_images");
    assert_eq!(field(|request| request.all_channels = true), "all_channels");
    assert_eq!(field(|request| request.histogram_bins = Some(0)), "histogram_bins");
    let drawn = v1::InspectRequest {
        layers: vec!["conv1".to_owned()],
        channels: vec![3],
        drawings: vec![v1::DrawingKind::Kernels.into()],
        ..v1::InspectRequest::default()
    };
    assert!(inspect_request(drawn).is_ok(), "drawings keep to layers and channels too");
}

#[test]
fn labels_and_classes_need_what_uses_them() {
    let none = v1::InspectRequest::default;
    assert_eq!(field(v1::InspectRequest { label: Some(1), saliency: true, ..none() }), "label");
    assert_eq!(
        field(v1::InspectRequest { target_class: Some(1), gradients: true, ..none() }),
        "target_class"
    );
    assert_eq!(
        field(v1::InspectRequest { target_class: Some(-1), saliency: true, ..none() }),
        "target_class"
    );
    let occlusion = Some(v1::OcclusionRequest::default());
    assert!(inspect_request(v1::InspectRequest { target_class: Some(9), occlusion, ..none() }).is_ok());
    let both = v1::InspectRequest { all_channels: true, channels: vec![0], ..contents() };
    assert_eq!(field(both), "all_channels");
}

#[test]
fn a_run_replaces_a_model_and_excludes_one() {
    let run = crate::ids::RunId::new();
    let request =
        |model| v1::InspectRequest { model, run_id: run.to_string(), ..v1::InspectRequest::default() };
    let params = inspect_request(request(None)).unwrap();
    assert!(matches!(params.job.target, Target::Run(target) if target == run));
    let named = v1::ModelRef { name: "digits".to_owned(), which: None };
    assert_eq!(field(request(Some(named))), "run_id");
    assert_eq!(
        field(v1::InspectRequest { run_id: "x".to_owned(), ..v1::InspectRequest::default() }),
        "run_id"
    );
}

#[test]
fn fields_left_out_have_their_defaults() {
    let params = inspect_request(contents()).unwrap();
    assert_eq!(params.max_answer_bytes, 4_000_000);
    let Depth::Contents { histogram_bins, max_values, .. } = params.job.depth else { panic!("contents") };
    assert_eq!((histogram_bins, max_values), (20, 500_000));
    let occlusion = Some(v1::OcclusionRequest { patch_size: Some(1), ..v1::OcclusionRequest::default() });
    let params = inspect_request(v1::InspectRequest { occlusion, ..v1::InspectRequest::default() }).unwrap();
    let occlusion = params.job.attributions.occlusion.unwrap();
    assert_eq!((occlusion.patch, occlusion.stride, occlusion.fill), (1, 1, 0.0));
}
