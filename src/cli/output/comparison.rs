//! Runs beside each other: a column for each, rows for what differs and for what came of it.

use comfy_table::Cell;

use super::{
    figure::name_of,
    number::{count, loss, percent, seconds},
    table::{self, Ink, Tone, cell},
};
use crate::cli::runs::Results;

/// A name, and the value that each run has there.
type Difference = (String, Vec<Option<String>>);

/// Two tables of the same columns; in the second, the best of each row is marked.
pub fn comparison(ids: &[String], differences: &[Difference], results: &[Results], ink: Ink) -> String {
    let header = |first| -> Vec<&str> { [first].into_iter().chain(ids.iter().map(String::as_str)).collect() };
    let requests = match differences {
        [] => "The requests are the same.\n".to_owned(),
        _ => {
            let mut table = table::table(ink, &header("request<"));
            for (name, values) in differences {
                let values = values.iter().map(|value| Cell::new(value.as_deref().unwrap_or("-")));
                table.add_row([Cell::new(name)].into_iter().chain(values));
            }
            table::text(&table)
        }
    };
    let mut table = table::table(ink, &header("result<"));
    for (name, cells) in rows(results) {
        table.add_row([Cell::new(name)].into_iter().chain(cells));
    }
    format!("{requests}\n{}", table::text(&table))
}

/// Which of a row's numbers is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Best {
    Largest,
    Smallest,
}

fn rows(results: &[Results]) -> Vec<(&'static str, Vec<Cell>)> {
    let plain = |text: fn(&Results) -> String| -> Vec<Cell> {
        results.iter().map(|result| Cell::new(text(result))).collect()
    };
    let ranked = |value: fn(&Results) -> Option<f64>, best, text: fn(Option<f64>) -> String| -> Vec<Cell> {
        let values: Vec<Option<f64>> = results.iter().map(value).collect();
        let winner = winner(&values, best);
        let tone = |value: &Option<f64>| {
            if winner.is_some() && *value == winner { Tone::Good } else { Tone::Plain }
        };
        values.iter().map(|value| cell(text(*value), tone(value))).collect()
    };
    let whole =
        |speed: Option<f64>| speed.map_or_else(|| "-".to_owned(), |speed| count(speed.round() as i64));
    let time = |time: Option<f64>| time.map_or_else(|| "-".to_owned(), seconds);
    vec![
        ("state", plain(|it| name_of(it.state, "RUN_STATE"))),
        ("epochs", plain(|it| it.epochs.to_string())),
        ("best epoch", plain(|it| optional(it.best_epoch))),
        ("validation accuracy", ranked(|it| it.validation_accuracy, Best::Largest, percent)),
        ("validation loss", ranked(|it| it.validation_loss, Best::Smallest, loss)),
        ("last train accuracy", ranked(|it| it.train_accuracy, Best::Largest, percent)),
        ("last train loss", ranked(|it| it.train_loss, Best::Smallest, loss)),
        ("duration", ranked(|it| it.seconds, Best::Smallest, time)),
        ("images/s", ranked(|it| it.images_per_second, Best::Largest, whole)),
        ("version", plain(|it| optional(it.version))),
    ]
}

fn optional(number: Option<i32>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

/// The best number of a row; None where all are the same, or only one is there.
fn winner(values: &[Option<f64>], best: Best) -> Option<f64> {
    let finite = || values.iter().copied().flatten().filter(|value| value.is_finite());
    let (low, high) = (finite().reduce(f64::min)?, finite().reduce(f64::max)?);
    (low < high).then_some(if best == Best::Largest { high } else { low })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> [Results; 2] {
        let one = Results {
            state: "RUN_STATE_COMPLETED",
            epochs: 3,
            best_epoch: Some(3),
            validation_accuracy: Some(0.989),
            train_loss: Some(f64::NAN),
            images_per_second: Some(7200.4),
            ..Default::default()
        };
        let other = Results { validation_accuracy: Some(0.981), train_loss: Some(0.1), ..one.clone() };
        [one, other]
    }

    fn shown(ink: Ink) -> String {
        let ids = ["01a20996".to_owned(), "01a20997".to_owned()];
        let differences = [("optimizer".to_owned(), vec![Some("sgd".to_owned()), None])];
        comparison(&ids, &differences, &results(), ink)
    }

    #[test]
    fn a_row_for_each_difference_and_each_result() {
        let text = shown(Ink::Plain);
        let row = |name: &str| {
            let line = text.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
            line.split("  ").map(str::trim).filter(|word| !word.is_empty()).collect::<Vec<_>>()
        };
        assert_eq!(row("request"), ["request", "01a20996", "01a20997"]);
        assert_eq!(row("optimizer"), ["optimizer", "sgd", "-"]);
        assert_eq!(row("validation accuracy"), ["validation accuracy", "98.90 %", "98.10 %"]);
        assert_eq!(row("last train loss"), ["last train loss", "NaN", "0.1000"]);
        assert_eq!(row("images/s"), ["images/s", "7 200", "7 200"]);
        assert_eq!(row("version"), ["version", "-", "-"]);
    }

    #[test]
    fn the_best_of_a_row_is_marked_and_no_tie() {
        assert_eq!(winner(&[Some(0.989), Some(0.981), None], Best::Largest), Some(0.989));
        assert_eq!(winner(&[Some(f64::NAN), Some(0.2), Some(0.1)], Best::Smallest), Some(0.1));
        assert_eq!(winner(&[Some(1.0), Some(1.0)], Best::Largest), None);
        let coloured = |row: &str| {
            shown(Ink::Colour).lines().any(|line| line.contains(row) && line.contains("\u{1b}[38"))
        };
        assert!(coloured("98.90 %") && !coloured("images/s"));
    }

    #[test]
    fn requests_that_are_the_same_are_said_to_be() {
        let text = comparison(&["a".to_owned(), "b".to_owned()], &[], &results(), Ink::Plain);
        assert!(text.starts_with("The requests are the same.\n"), "{text}");
    }
}
