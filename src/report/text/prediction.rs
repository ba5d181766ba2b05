//! Predictions: the label, its probability, and the runners-up.

use super::{bar::bar, block_image::digit, number::percent};
use crate::{
    data::image,
    pb::digitd::v1::{PredictResponse, Prediction, Quality},
};

/// The width of a bar, in characters.
const BAR: usize = 24;

/// The smallest probability that has a line.
const MIN_LISTED: f32 = 0.0005;

/// The predictions for the image `source`, with the image as the network saw it where the response has it.
pub fn predictions(source: &str, response: &PredictResponse) -> String {
    let mut text = String::new();
    for prediction in &response.predictions {
        text += &line(source, response, prediction);
        // A blank image has nothing to show, and its probabilities mean nothing.
        if prediction.quality() != Quality::Blank {
            text += &beside(&network_input(&prediction.seen_png), &bars(prediction));
        }
        text.push('\n');
    }
    text
}

/// A line for each prediction.
pub fn prediction_lines(source: &str, response: &PredictResponse) -> String {
    response.predictions.iter().map(|prediction| line(source, response, prediction)).collect()
}

fn line(source: &str, response: &PredictResponse, prediction: &Prediction) -> String {
    let (label, version) = (self::prediction(prediction), response.version);
    format!("{source}: {label}, by {} version {version}\n", response.name)
}

/// The label with its probability, or why there is none.
pub fn prediction(prediction: &Prediction) -> String {
    let uncertainty = match prediction.quality() {
        Quality::Blank => return "no digit: the image is blank".to_owned(),
        Quality::SeveralShapes => "uncertain: several shapes",
        Quality::TooSmall => "uncertain: too small",
        Quality::LowContrast => "uncertain: low contrast",
        Quality::NotStrokes => "uncertain: no pen strokes",
        Quality::Border => "uncertain: a border may be part of the digit",
        Quality::LightBackground => "uncertain: light background where it must be dark",
        Quality::Good | Quality::Unspecified if prediction.low_confidence() => "uncertain",
        Quality::Good | Quality::Unspecified => "",
    };
    let Some(label) = prediction.label else { return "no prediction".to_owned() };
    let label = prediction.label_name.clone().unwrap_or_else(|| label.to_string());
    let share = percent(prediction.probability.map(f64::from));
    if uncertainty.is_empty() {
        format!("{label} ({share})")
    } else {
        format!("{label} ({share}; {uncertainty})")
    }
}

/// The image as the network saw it, in lines; empty where the response has none, or one that does not
/// decode.
fn network_input(png: &[u8]) -> Vec<String> {
    let image = image::decode(png, image::Grayscale::Luma);
    image.map(|image| digit(&image.pixels, image.width)).unwrap_or_default()
}

/// A line for every class of a noticeable probability, most probable first.
fn bars(prediction: &Prediction) -> Vec<String> {
    let mut ranked: Vec<(usize, f32)> = prediction.probabilities.iter().copied().enumerate().collect();
    ranked.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let visible = ranked.iter().filter(|(_, probability)| *probability >= MIN_LISTED);
    visible
        .map(|&(digit, probability)| {
            let share = f64::from(probability);
            format!("{digit} {:>8} {}", percent(Some(share)), bar(share, BAR))
        })
        .collect()
}

fn beside(left: &[String], right: &[String]) -> String {
    let width = left.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let height = left.len().max(right.len());
    (0..height)
        .map(|at| {
            let part = |lines: &[String]| lines.get(at).cloned().unwrap_or_default();
            let line = match left.is_empty() {
                true => format!("  {}", part(right)),
                false => format!("  {:<width$}   {}", part(left), part(right)),
            };
            line.trim_end().to_owned() + "\n"
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seven() -> PredictResponse {
        let mut probabilities = vec![0.0; 10];
        probabilities[7] = 0.75;
        probabilities[1] = 0.25;
        let prediction =
            Prediction { label: Some(7), probability: Some(0.75), probabilities, ..Default::default() };
        PredictResponse { name: "digits".into(), version: 2, predictions: vec![prediction] }
    }

    #[test]
    fn a_prediction_names_its_label_and_its_version() {
        let text = predictions("seven.png", &seven());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "seven.png: 7 (75.00 %), by digits version 2");
        assert_eq!(lines[1], "  7  75.00 % ██████████████████");
        assert_eq!(lines[2], "  1  25.00 % ██████");
        assert_eq!(lines.len(), 4, "improbable digits are left out");
        assert_eq!(prediction_lines("seven.png", &seven()), format!("{}\n", lines[0]));
    }

    #[test]
    fn the_network_input_is_shown_beside_the_bars() {
        let pixels: Vec<u8> = (0..784).map(|at| if at % 28 == 3 { 255 } else { 0 }).collect();
        let mut response = seven();
        response.predictions[0].seen_png = image::to_png(&pixels, 28, 28).into();
        let text = predictions("7", &response);
        assert!(text.contains("\n  █   7  75.00 %"), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("  █")).count(), 14);
    }

    #[test]
    fn zero_is_a_label_and_a_missing_label_is_not() {
        let zero = Prediction { label: Some(0), probability: Some(1.0), ..Default::default() };
        assert_eq!(prediction(&zero), "0 (100.00 %)");
        assert_eq!(prediction(&Prediction::default()), "no prediction");
    }

    #[test]
    fn uncertainty_is_shown_with_its_reason() {
        let of = |quality: Quality| {
            let (label, probability) = (Some(3), Some(0.9));
            let quality = quality.into();
            prediction(&Prediction {
                label,
                probability,
                quality,
                low_confidence: Some(true),
                ..Default::default()
            })
        };
        assert_eq!(of(Quality::SeveralShapes), "3 (90.00 %; uncertain: several shapes)");
        assert_eq!(of(Quality::Border), "3 (90.00 %; uncertain: a border may be part of the digit)");
        assert_eq!(of(Quality::Good), "3 (90.00 %; uncertain)");
        assert_eq!(of(Quality::Blank), "no digit: the image is blank");
    }
}
