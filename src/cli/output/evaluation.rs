//! An evaluation: the sums, a row for every class, and the confusion matrix.

use comfy_table::Cell;

use super::{
    figure::name_of,
    number::{count, loss, percent, seconds},
    table::{self, Ink, Tone, cell},
};
use crate::pb::digitd::v1::{ConfusionMatrix, EvaluateResponse, Split};

/// All of an evaluation.
pub fn evaluation(answer: &EvaluateResponse, ink: Ink) -> String {
    let split = name_of(Split::try_from(answer.split).unwrap_or_default().as_str_name(), "SPLIT");
    let head = format!(
        "{} version {} on {} {split}: accuracy {} ({} of {}), loss {}{}\n",
        answer.name,
        answer.version,
        answer.dataset,
        percent(answer.accuracy),
        count(answer.correct.unwrap_or_default()),
        count(answer.total),
        loss(answer.loss),
        answer.seconds.map(|s| format!(", in {}", seconds(s))).unwrap_or_default(),
    );
    let matrix = answer.confusion_matrix.as_ref().map(|matrix| confusion(matrix, ink)).unwrap_or_default();
    format!("{head}\n{}\n{matrix}", classes(answer, ink))
}

fn classes(answer: &EvaluateResponse, ink: Ink) -> String {
    let mut table = table::table(ink, &["digit", "precision", "recall", "F1", "images"]);
    for class in &answer.classes {
        let shares = [class.precision, class.recall, class.f1].map(|share| Cell::new(percent(share)));
        let name = class.label_name.clone().unwrap_or_else(|| class.label().to_string());
        let mut row = vec![Cell::new(name)];
        row.extend(shares);
        row.push(Cell::new(count(class.support.unwrap_or_default())));
        table.add_row(row);
    }
    table::text(&table)
}

/// Labels down, answers across; zeros are dots, so that the mistakes stand out.
fn confusion(matrix: &ConfusionMatrix, ink: Ink) -> String {
    let answers: Vec<String> = (0..matrix.rows.len()).map(|answer| answer.to_string()).collect();
    let header: Vec<&str> = ["label"].into_iter().chain(answers.iter().map(String::as_str)).collect();
    let mut table = table::table(ink, &header);
    let worst = mistakes(matrix).max().unwrap_or(0);
    for (label, row) in matrix.rows.iter().enumerate() {
        let cells = row.counts.iter().enumerate().map(|(answer, &number)| match number {
            0 => cell("·", Tone::Faint),
            _ if answer == label => cell(number, Tone::Good),
            _ if number * 2 > worst => cell(number, Tone::Bad),
            _ => cell(number, Tone::Plain),
        });
        table.add_row([Cell::new(label)].into_iter().chain(cells));
    }
    format!("Labels (down) against answers (across):\n{}", table::text(&table))
}

fn mistakes(matrix: &ConfusionMatrix) -> impl Iterator<Item = i32> {
    let rows = matrix.rows.iter().enumerate();
    rows.flat_map(|(label, row)| {
        let others = row.counts.iter().enumerate().filter(move |(answer, _)| *answer != label);
        others.map(|(_, &number)| number)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::digitd::v1::{ClassReport, ConfusionMatrixRow};

    fn two_classes() -> EvaluateResponse {
        let class = |label, precision| ClassReport {
            label: Some(label),
            precision,
            recall: Some(0.75),
            f1: Some(0.5),
            support: Some(1200),
            label_name: None,
        };
        let rows = vec![ConfusionMatrixRow { counts: vec![8, 0] }, ConfusionMatrixRow { counts: vec![3, 9] }];
        EvaluateResponse {
            name: "digits".into(),
            version: 3,
            dataset: "mnist".into(),
            split: Split::Test.into(),
            loss: Some(0.0441),
            accuracy: Some(0.9858),
            correct: Some(9858),
            total: 10_000,
            classes: vec![class(0, Some(1.0)), class(1, None)],
            confusion_matrix: Some(ConfusionMatrix { rows }),
            seconds: Some(1.5),
        }
    }

    #[test]
    fn the_sums_stand_in_one_line() {
        let text = evaluation(&two_classes(), Ink::Plain);
        let head =
            "digits version 3 on mnist test: accuracy 98.58 % (9 858 of 10 000), loss 0.0441, in 1.5 s";
        assert_eq!(text.lines().next(), Some(head));
    }

    #[test]
    fn a_class_that_was_never_answered_has_no_precision() {
        let text = evaluation(&two_classes(), Ink::Plain);
        assert!(text.contains("     0   100.00 %  75.00 %  50.00 %   1 200"), "{text}");
        assert!(text.contains("     1          -  75.00 %  50.00 %   1 200"), "{text}");
    }

    #[test]
    fn labels_go_down_and_answers_across() {
        let text = evaluation(&two_classes(), Ink::Plain);
        let rows: Vec<&str> = text.lines().rev().take(2).collect();
        assert_eq!(rows[1].split_whitespace().collect::<Vec<_>>(), ["0", "8", "·"]);
        assert_eq!(rows[0].split_whitespace().collect::<Vec<_>>(), ["1", "3", "9"]);
    }
}
