//! Predictions as the contract shows them.

use bytes::Bytes;

use crate::{
    data::image::Quality,
    engine::PredictionBatch,
    pb::digitd::v1,
    server::{
        convert::shared::{
            enums::optional_to_wire,
            field::int,
            images::MAX_INLINE_IMAGES,
            ranking::{best, ranked},
        },
        decode_pool::Cost,
    },
};

/// A prediction below this probability is of low confidence. With the recipe FAST one validation image of MNIST
/// in a hundred is below it, and about half of those are misclassified.
const CONFIDENT: f32 = 0.7;

/// The cost of encoding the response.
pub fn cost(predicted: &PredictionBatch) -> Cost {
    let images = predicted.probabilities.len() / predicted.classes;
    if images > MAX_INLINE_IMAGES { Cost::Offload } else { Cost::Inline }
}

/// One prediction for each image, in their order. `qualities` has one entry for each image; `pngs` too, or
/// none.
pub fn from_predictions(
    predicted: &PredictionBatch,
    top_k: usize,
    qualities: &[Option<Quality>],
    pngs: Vec<Bytes>,
) -> v1::PredictResponse {
    let rows = predicted.probabilities.chunks_exact(predicted.classes);
    let mut predictions: Vec<v1::Prediction> = rows
        .zip(qualities)
        .map(|(row, &quality)| with_quality(prediction(row, top_k, &predicted.class_names), quality))
        .collect();
    for (prediction, png) in predictions.iter_mut().zip(pngs) {
        prediction.seen_png = png;
    }
    v1::PredictResponse {
        name: predicted.model.to_string(),
        version: int(predicted.version.get()),
        predictions,
    }
}

/// The prediction with the quality of its image. The prediction of a blank image says nothing, so its label and
/// its probabilities are replaced.
fn with_quality(prediction: v1::Prediction, quality: Option<Quality>) -> v1::Prediction {
    let low_confidence = quality.is_some_and(|quality| quality != Quality::Good)
        // NaN is not below any threshold, and must count as low confidence.
        || !prediction.probability.is_some_and(|probability| probability >= CONFIDENT);
    let prediction = match quality {
        Some(Quality::Blank) => {
            let classes = prediction.probabilities.len();
            let probabilities = vec![1.0 / classes as f32; classes];
            v1::Prediction { probabilities, ..v1::Prediction::default() }
        }
        Some(
            Quality::Good
            | Quality::SeveralShapes
            | Quality::TooSmall
            | Quality::LowContrast
            | Quality::NotStrokes
            | Quality::Border
            | Quality::LightBackground,
        )
        | None => prediction,
    };
    v1::Prediction { quality: optional_to_wire(quality), low_confidence: Some(low_confidence), ..prediction }
}

fn prediction(probabilities: &[f32], top_k: usize, names: &[String]) -> v1::Prediction {
    let best = best(probabilities);
    v1::Prediction {
        label: best.map(int),
        probability: best.map(|label| probabilities[label]),
        probabilities: probabilities.to_vec(),
        top: top(probabilities, top_k, names),
        label_name: best.and_then(|label| names.get(label).cloned()),
        ..v1::Prediction::default()
    }
}

/// The most probable labels, most probable first; of equally probable labels, the smallest first.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_by_probability_and_ties_by_class() {
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
    fn poor_quality_or_low_probability_is_of_low_confidence() {
        let low = |best: f32, quality| {
            with_quality(prediction(&[best, 1.0 - best], 0, &[]), quality).low_confidence.unwrap()
        };
        assert!(!low(0.9, Some(Quality::Good)) && !low(0.9, None));
        assert!(low(0.9, Some(Quality::SeveralShapes)) && low(0.9, Some(Quality::Blank)));
        assert!(low(f32::NAN, Some(Quality::Good)) && low(f32::NAN, None));
        let unsure = with_quality(prediction(&[0.4, 0.3, 0.3], 0, &[]), Some(Quality::Good));
        assert_eq!((unsure.low_confidence, unsure.label), (Some(true), Some(0)));
    }

    #[test]
    fn a_blank_image_has_no_label_and_supports_no_class() {
        let blank = with_quality(prediction(&[0.01, 0.99], 2, &[]), Some(Quality::Blank));
        assert_eq!((blank.label, blank.probability, blank.quality()), (None, None, v1::Quality::Blank));
        assert_eq!((blank.probabilities, blank.top), (vec![0.5, 0.5], Vec::new()));
    }
}
