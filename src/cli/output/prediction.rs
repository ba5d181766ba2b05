//! Predictions: the digit, how sure, and the runners-up.

use super::{chart::bar, number::percent, picture::digit};
use crate::pb::digitd::v1::{PredictResponse, Prediction};

/// Columns of a bar.
const BAR: usize = 24;

/// Probabilities below this share are not listed.
const LISTED: f32 = 0.0005;

/// What was read in each picture: `sources` names them, `seen` holds the 784 values that were sent
/// where they are known.
pub fn predictions(answer: &PredictResponse, sources: &[(String, Option<Vec<f32>>)]) -> String {
    let mut text = String::new();
    for (prediction, (source, seen)) in answer.predictions.iter().zip(sources) {
        text += &format!(
            "{source}: {}, by {} version {}\n",
            self::prediction(prediction),
            answer.name,
            answer.version
        );
        let picture = seen.as_deref().map(digit).unwrap_or_default();
        text += &beside(&picture, &bars(prediction));
        text.push('\n');
    }
    text
}

/// The digit and how sure, in a few words.
pub fn prediction(prediction: &Prediction) -> String {
    match prediction.label {
        Some(label) => {
            let label = prediction.label_name.clone().unwrap_or_else(|| label.to_string());
            format!("{label} ({})", percent(prediction.probability.map(f64::from)))
        }
        None => "no answer".to_owned(),
    }
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
        let text = predictions(&seven(), &[("seven.png".to_owned(), None)]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "seven.png: 7 (75.00 %), by digits version 2");
        assert_eq!(lines[1], "  7  75.00 % ██████████████████");
        assert_eq!(lines[2], "  1  25.00 % ██████");
        assert_eq!(lines.len(), 4, "the other digits are out of the question");
    }

    #[test]
    fn the_picture_that_was_sent_stands_beside_the_bars() {
        let picture: Vec<f32> = (0..784).map(|at| if at % 28 == 3 { 1.0 } else { 0.0 }).collect();
        let text = predictions(&seven(), &[("7".to_owned(), Some(picture))]);
        assert!(text.contains("\n  @   7  75.00 %"), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("  @")).count(), 14);
    }

    #[test]
    fn zero_is_a_digit_and_nothing_is_not() {
        let zero = Prediction { label: Some(0), probability: Some(1.0), ..Default::default() };
        assert_eq!(prediction(&zero), "0 (100.00 %)");
        assert_eq!(prediction(&Prediction::default()), "no answer");
    }
}
