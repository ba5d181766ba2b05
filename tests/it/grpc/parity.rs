//! A reference run through the public API alone: Paddle's initial parameters are imported, a hundred batches
//! are trained in float64, and losses, accuracies and final parameters equal Paddle's.

use std::collections::HashMap;

use digitd::pb::digitd::v1::{self, optimizer::Rule, train_event::Event};
use safetensors::SafeTensors;

use super::{
    server::{TestServer, collect, finished},
    transfer::{export, import},
};
use crate::support;

/// The arrays of a file, each with its shape and its values in row-major order.
pub struct Arrays(HashMap<String, (Vec<usize>, Vec<f64>)>);

impl Arrays {
    pub fn read(file: &[u8]) -> Self {
        let arrays = SafeTensors::deserialize(file).unwrap().tensors().into_iter().map(|(name, view)| {
            let values = match view.dtype() {
                safetensors::Dtype::F64 => {
                    view.data().as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
                }
                safetensors::Dtype::F32 => {
                    view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes).into()).collect()
                }
                other => panic!("{name} is {other:?}"),
            };
            (name, (view.shape().to_vec(), values))
        });
        Self(arrays.collect())
    }

    pub fn row(&self, name: &str) -> &[f64] {
        &self.0[name].1
    }

    /// The values of a parameter in libtorch's layout; Paddle stores fc.weight as [in, out].
    pub fn parameter(&self, prefix: &str, name: &str) -> Vec<f64> {
        let (shape, values) = &self.0[&format!("{prefix}{name}")];
        match (name, &shape[..]) {
            ("fc.weight", [inputs, outputs]) => {
                let turned =
                    (0..*outputs).flat_map(|out| (0..*inputs).map(move |input| input * outputs + out));
                turned.map(|at| values[at]).collect()
            }
            _ => values.clone(),
        }
    }
}

fn check_close(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let off = (found - expected).abs();
        assert!(off < 1e-9, "{what}, number {at}: {found} is off by {off}");
    }
}

/// One epoch over the first 10 000 training images in file order, in batches of 100.
fn reference_run(rule: Rule) -> v1::TrainRequest {
    v1::TrainRequest {
        dataset: Some(v1::Dataset { max_train_images: Some(10_000), ..v1::Dataset::default() }),
        epochs: Some(1),
        batch_size: Some(100),
        shuffle: Some(false),
        precision: v1::Precision::Float64.into(),
        initial: Some(v1::ModelRef { name: String::new(), which: Some(v1::model_ref::Which::Version(1)) }),
        optimizer: Some(v1::Optimizer { rule: Some(rule) }),
        validation: Some(v1::Validation { size: Some(v1::validation::Size::Count(0)), every_epochs: None }),
        report_every_batches: Some(1),
        ..v1::TrainRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reference_runs_are_repeated_through_the_api_to_nine_digits() {
    let Some(mnist) = support::mnist_dir() else { return };
    let read = |name: &str| std::fs::read(support::golden(name)).unwrap();
    let server = TestServer::with_data(vec![mnist]).await;
    let paddle = v1::ImportMetadata { layout: v1::WeightsLayout::Paddle.into(), ..Default::default() };
    import(&server, paddle, &read("init.safetensors")).await.unwrap();
    let trajectories = Arrays::read(&read("trajectories.safetensors"));
    let after = Arrays::read(&read("params_after_100_batches.safetensors"));
    let sgd = Rule::Sgd(v1::Sgd { learning_rate: Some(0.01) });
    let adam = Rule::Adam(v1::Adam { learning_rate: Some(0.01), ..v1::Adam::default() });
    for (case, rule, version) in [("sgd_lr0.01", sgd, 2), ("adam_lr0.01", adam, 3)] {
        let events = collect(server.training().train(reference_run(rule)).await.unwrap().into_inner()).await;
        assert_eq!(finished(&events).version, Some(version));
        let batches = events.iter().filter_map(|event| match event.event.as_ref()? {
            Event::Batch(batch) => Some((batch.loss.unwrap(), batch.accuracy.unwrap())),
            _ => None,
        });
        let (losses, accuracies): (Vec<f64>, Vec<f64>) = batches.unzip();
        check_close(&losses, trajectories.row(&format!("{case}.loss_f64")), case);
        // Paddle stores accuracies in float32: 0.13 is 0.12999999523162842.
        let expected =
            trajectories.row(&format!("{case}.acc_f64")).iter().map(|share| (share * 100.0).round() / 100.0);
        check_close(&accuracies, &expected.collect::<Vec<_>>(), case);

        let (manifest, file) = export(&server, version).await;
        assert_eq!(manifest.precision(), v1::Precision::Float64);
        let found = Arrays::read(&file);
        let prefix = format!("{case}.f64.");
        for name in ["conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias", "fc.weight", "fc.bias"] {
            check_close(found.row(name), &after.parameter(&prefix, name), &format!("{case} {name}"));
        }
    }
    let manifest: serde_json::Value = serde_json::from_slice(&read("manifest.json")).unwrap();
    for expected in manifest["evaluation_sgd_lr0.01"].as_array().unwrap() {
        check_evaluation(&server, expected).await;
    }
}

/// Evaluates version 2 on MNIST's test images as Paddle did, which computes in float32.
async fn check_evaluation(server: &TestServer, expected: &serde_json::Value) {
    let batch_size = i32::try_from(expected["batch"].as_i64().unwrap()).unwrap();
    let which = Some(v1::model_ref::Which::Version(2));
    let request = v1::EvaluateRequest {
        model: Some(v1::ModelRef { name: String::new(), which }),
        batch_size: Some(batch_size),
        ..v1::EvaluateRequest::default()
    };
    let found = server.analysis().evaluate(request).await.unwrap().into_inner();
    for (name, found) in [
        ("true_mean_loss", found.loss),
        ("true_acc", found.accuracy),
        ("mean_of_batch_means_loss", found.batch_mean_loss),
        ("mean_of_batch_means_acc", found.batch_mean_accuracy),
    ] {
        let (found, expected) = (found.unwrap(), expected[name].as_f64().unwrap());
        assert!((found - expected).abs() < 1e-6, "{name} in batches of {batch_size}: {found}, {expected}");
    }
}
