//! Questions to the network and its answers.

use super::{
    field::{Invalid, count, int},
    model,
    picture::Given,
};
use crate::{engine::Predicted, pb::digitd::v1, registry::ModelRef};

/// A request to read pictures; what those are like, the version has to bear.
#[derive(Debug)]
pub struct Question {
    pub model: ModelRef,
    pub pictures: Given,
    /// How many answers to list.
    pub top_k: usize,
}

pub fn predict_request(request: v1::PredictRequest) -> Result<Question, Invalid> {
    Ok(Question {
        model: model::reference("model", request.model)?,
        top_k: count("top_k", request.top_k, 0..=MOST_CLASSES, 0)? as usize,
        pictures: Given {
            images: request.images,
            batch: request.pixel_batch,
            normalization: request.normalization,
        },
    })
}

/// Most answers to list: as many as a data set can have classes.
const MOST_CLASSES: u32 = 100;

/// One prediction for each picture, in their order.
pub fn from_predicted(predicted: &Predicted, top_k: usize) -> v1::PredictResponse {
    let rows = predicted.probabilities.chunks_exact(predicted.classes);
    v1::PredictResponse {
        name: predicted.model.to_string(),
        version: int(predicted.version.get()),
        predictions: rows.map(|row| prediction(row, top_k, &predicted.class_names)).collect(),
    }
}

fn prediction(probabilities: &[f32], top_k: usize, names: &[String]) -> v1::Prediction {
    let best = best(probabilities);
    v1::Prediction {
        label: best.map(int),
        probability: best.map(|label| probabilities[label]),
        probabilities: probabilities.to_vec(),
        top: top(probabilities, top_k, names),
        label_name: best.and_then(|label| names.get(label).cloned()),
    }
}

/// The most probable labels, most probable first; of equals the smaller label first.
fn top(probabilities: &[f32], top_k: usize, names: &[String]) -> Vec<v1::ScoredLabel> {
    if top_k == 0 {
        return Vec::new();
    }
    let scored = |label: usize| v1::ScoredLabel {
        label: Some(int(label)),
        probability: Some(probabilities[label]),
        label_name: names.get(label).cloned(),
    };
    ranked(probabilities, top_k).into_iter().map(scored).collect()
}

/// The most probable label; of equals the smaller.
pub fn best(probabilities: &[f32]) -> Option<usize> {
    let numbered = probabilities.iter().enumerate();
    numbered.max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0))).map(|(label, _)| label)
}

/// The `count` most probable labels, most probable first; of equals the smaller label first.
pub fn ranked(probabilities: &[f32], count: usize) -> Vec<usize> {
    let mut labels: Vec<usize> = (0..probabilities.len()).collect();
    labels.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
    labels.truncate(count);
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_most_probable_first_and_of_equals_the_smaller() {
        let answer = prediction(&[0.1, 0.4, 0.4, 0.1], 3, &[]);
        assert_eq!((answer.label, answer.probability), (Some(1), Some(0.4)));
        let labels: Vec<_> = answer.top.iter().filter_map(|scored| scored.label).collect();
        assert_eq!(labels, [1, 2, 0]);
        assert_eq!(prediction(&[1.0, 0.0], 0, &[]).top, []);
    }

    #[test]
    fn classes_that_have_names_are_named() {
        let answer = prediction(&[0.1, 0.9], 2, &["cat".to_owned(), "dog".to_owned()]);
        assert_eq!(answer.label_name.as_deref(), Some("dog"));
        assert_eq!(answer.top[1].label_name.as_deref(), Some("cat"));
        assert_eq!(prediction(&[0.1, 0.9], 0, &[]).label_name, None);
    }

    #[test]
    fn more_answers_than_classes_can_be_are_refused() {
        let request = v1::PredictRequest { top_k: Some(101), ..v1::PredictRequest::default() };
        assert_eq!(predict_request(request).unwrap_err().field, "top_k");
    }
}
