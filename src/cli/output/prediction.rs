//! Predictions: the digit, how sure, and the runners-up.

use super::{chart::bar, number::percent, picture::digit};
use crate::{
    data::image,
    pb::digitd::v1::{PredictResponse, Prediction, Quality},
};

/// Columns of a bar.
const BAR: usize = 24;

/// Probabilities below this share are not listed.
const LISTED: f32 = 0.0005;

/// What was read in the picture `source`, with the picture as the network saw it where it came along.
pub fn predictions(source: &str, answer: &PredictResponse) -> String {
    let mut text = String::new();
    for prediction in &answer.predictions {
        text += &line(source, answer, prediction);
        // An empty picture and ten equal bars tell no more than the line does.
        if prediction.quality() != Quality::Blank {
            text += &beside(&seen(&prediction.seen_png), &bars(prediction));
        }
        text.push('\n');
    }
    text
}

/// The same in a line for each prediction.
pub fn reading(source: &str, answer: &PredictResponse) -> String {
    answer.predictions.iter().map(|prediction| line(source, answer, prediction)).collect()
}

fn line(source: &str, answer: &PredictResponse, prediction: &Prediction) -> String {
    let (read, version) = (self::prediction(prediction), answer.version);
    format!("{source}: {read}, by {} version {version}\n", answer.name)
}

/// The digit and how sure, in a few words.
pub fn prediction(prediction: &Prediction) -> String {
    let doubt = match prediction.quality() {
        Quality::Blank => return "no digit: the picture is blank".to_owned(),
        Quality::SeveralShapes => "doubtful: several shapes",
        Quality::TooSmall => "doubtful: too small",
        Quality::LowContrast => "doubtful: hardly any contrast",
        Quality::NotStrokes => "doubtful: no strokes of a pen",
        Quality::Good | Quality::Unspecified if prediction.low_confidence() => "doubtful",
        Quality::Good | Quality::Unspecified => "",
    };
    let Some(label) = prediction.label else { return "no answer".to_owned() };
    let label = prediction.label_name.clone().unwrap_or_else(|| label.to_string());
    let share = percent(prediction.probability.map(f64::from));
    if doubt.is_empty() { format!("{label} ({share})") } else { format!("{label} ({share}; {doubt})") }
}

/// What the network saw, as lines; none where the answer has no picture, or one that does not decode.
fn seen(png: &[u8]) -> Vec<String> {
    let picture = image::decode(png, image::Shades::Luma);
    picture.map(|picture| digit(&picture.pixels, picture.width)).unwrap_or_default()
}

/// A line for every digit that is not out of the question, most probable first.
fn bars(prediction: &Prediction) -> Vec<String> {
    let mut ranked: Vec<(usize, f32)> = prediction.probabilities.iter().copied().enumerate().collect();
    ranked.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let listed = ranked.iter().filter(|(_, probability)| *probability >= LISTED);
    listed
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
    fn the_answer_names_the_digit_and_the_version() {
        let text = predictions("seven.png", &seven());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "seven.png: 7 (75.00 %), by digits version 2");
        assert_eq!(lines[1], "  7  75.00 % ██████████████████");
        assert_eq!(lines[2], "  1  25.00 % ██████");
        assert_eq!(lines.len(), 4, "the other digits are out of the question");
        assert_eq!(reading("seven.png", &seven()), format!("{}\n", lines[0]));
    }

    #[test]
    fn what_the_network_saw_stands_beside_the_bars() {
        let picture: Vec<u8> = (0..784).map(|at| if at % 28 == 3 { 255 } else { 0 }).collect();
        let mut answer = seven();
        answer.predictions[0].seen_png = image::to_png(&picture, 28, 28).into();
        let text = predictions("7", &answer);
        assert!(text.contains("\n  █   7  75.00 %"), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("  █")).count(), 14);
    }

    #[test]
    fn zero_is_a_digit_and_nothing_is_not() {
        let zero = Prediction { label: Some(0), probability: Some(1.0), ..Default::default() };
        assert_eq!(prediction(&zero), "0 (100.00 %)");
        assert_eq!(prediction(&Prediction::default()), "no answer");
    }

    #[test]
    fn a_doubt_is_told_with_its_reason() {
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
        assert_eq!(of(Quality::SeveralShapes), "3 (90.00 %; doubtful: several shapes)");
        assert_eq!(of(Quality::Good), "3 (90.00 %; doubtful)");
        assert_eq!(of(Quality::Blank), "no digit: the picture is blank");
    }
}
