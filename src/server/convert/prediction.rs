//! Questions to the network and its answers.

use bytes::Bytes;

use super::{
    field::{Invalid, count, int},
    model,
    picture::{FEW, Given, MOST_PICTURES},
};
use crate::{
    data::image::Quality, engine::Predicted, pb::digitd::v1, registry::ModelRef, server::reader::Weight,
};

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
            pngs: request.return_seen_png,
        },
    })
}

/// Most answers to list: as many as a data set can have classes.
const MOST_CLASSES: u32 = 100;

/// Most answers that are listed for the pictures of one call together, ten for each of as many pictures
/// as a call may bring: the list of a hundred each would be a hundred megabytes of memory.
const MOST_LISTED: usize = 10 * MOST_PICTURES;

/// A probability from here on is confident. Of the validation images of MNIST that the recipe FAST reads
/// with less, one in a hundred, about half are misread.
const CONFIDENT: f32 = 0.7;

/// Errors where a question asks to list more answers than a call may, of a version that reads pictures of
/// `area` pixels and knows so many classes.
pub fn check_listed(question: &Question, area: usize, classes: usize) -> Result<(), Invalid> {
    let Given { images, batch, .. } = &question.pictures;
    let listed = (images.len() + batch.len() / area) * question.top_k.min(classes);
    if listed <= MOST_LISTED {
        return Ok(());
    }
    let message = format!("lists {listed} answers: ask for at most {MOST_LISTED} a call");
    Err(Invalid::new("top_k", message))
}

/// How long it takes to write the answers.
pub fn weight(predicted: &Predicted) -> Weight {
    let images = predicted.probabilities.len() / predicted.classes;
    if images > FEW { Weight::Heavy } else { Weight::Light }
}

/// One prediction for each picture, in their order. `qualities` has one for each, `pngs` too or none.
pub fn from_predicted(
    predicted: &Predicted,
    top_k: usize,
    qualities: &[Option<Quality>],
    pngs: Vec<Bytes>,
) -> v1::PredictResponse {
    let rows = predicted.probabilities.chunks_exact(predicted.classes);
    let mut predictions: Vec<v1::Prediction> = rows
        .zip(qualities)
        .map(|(row, &quality)| judged(prediction(row, top_k, &predicted.class_names), quality))
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

/// The prediction in the light of what was read. Whatever the network makes of an empty image, it is no
/// reading: that is taken out.
fn judged(read: v1::Prediction, quality: Option<Quality>) -> v1::Prediction {
    let doubted = quality.is_some_and(|quality| quality != Quality::Good)
        // What is no number is below nothing, and not to be relied on.
        || !read.probability.is_some_and(|probability| probability >= CONFIDENT);
    let read = match quality {
        Some(Quality::Blank) => {
            let classes = read.probabilities.len();
            let probabilities = vec![1.0 / classes as f32; classes];
            v1::Prediction { probabilities, ..v1::Prediction::default() }
        }
        Some(
            Quality::Good
            | Quality::SeveralShapes
            | Quality::TooSmall
            | Quality::LowContrast
            | Quality::NotStrokes,
        )
        | None => read,
    };
    v1::Prediction { quality: from_quality(quality).into(), low_confidence: Some(doubted), ..read }
}

fn from_quality(quality: Option<Quality>) -> v1::Quality {
    match quality {
        None => v1::Quality::Unspecified,
        Some(Quality::Good) => v1::Quality::Good,
        Some(Quality::Blank) => v1::Quality::Blank,
        Some(Quality::SeveralShapes) => v1::Quality::SeveralShapes,
        Some(Quality::TooSmall) => v1::Quality::TooSmall,
        Some(Quality::LowContrast) => v1::Quality::LowContrast,
        Some(Quality::NotStrokes) => v1::Quality::NotStrokes,
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
        ..v1::Prediction::default()
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
    fn what_is_not_good_or_not_likely_is_of_low_confidence() {
        let low = |best: f32, quality| {
            judged(prediction(&[best, 1.0 - best], 0, &[]), quality).low_confidence.unwrap()
        };
        assert!(!low(0.9, Some(Quality::Good)) && !low(0.9, None));
        assert!(low(0.9, Some(Quality::SeveralShapes)) && low(0.9, Some(Quality::Blank)));
        assert!(low(f32::NAN, Some(Quality::Good)) && low(f32::NAN, None));
        let unsure = judged(prediction(&[0.4, 0.3, 0.3], 0, &[]), Some(Quality::Good));
        assert_eq!((unsure.low_confidence, unsure.label), (Some(true), Some(0)));
    }

    #[test]
    fn a_blank_picture_has_no_label_and_speaks_for_no_class() {
        let blank = judged(prediction(&[0.01, 0.99], 2, &[]), Some(Quality::Blank));
        assert_eq!((blank.label, blank.probability, blank.quality()), (None, None, v1::Quality::Blank));
        assert_eq!((blank.probabilities, blank.top), (vec![0.5, 0.5], Vec::new()));
    }

    #[test]
    fn a_call_lists_ten_answers_for_each_picture_or_more_for_fewer() {
        let of = |pictures: usize, top_k: i32| {
            let pixel_batch = Bytes::from(vec![0; pictures]);
            let request =
                v1::PredictRequest { pixel_batch, top_k: Some(top_k), ..v1::PredictRequest::default() };
            check_listed(&predict_request(request).unwrap(), 1, 47).map_err(|refused| refused.field)
        };
        assert_eq!((of(MOST_PICTURES, 10), of(3000, 100)), (Ok(()), Ok(())));
        assert_eq!(of(MOST_PICTURES, 11), Err("top_k".to_owned()));
    }

    #[test]
    fn more_answers_than_classes_can_be_are_refused() {
        let request = v1::PredictRequest { top_k: Some(101), ..v1::PredictRequest::default() };
        assert_eq!(predict_request(request).unwrap_err().field, "top_k");
    }
}
