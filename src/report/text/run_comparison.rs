//! Runs compared: a column for each run, rows for the settings that differ and for the results.

use comfy_table::Cell;

use super::{
    layout::Layout,
    names::enum_label,
    number::{count, loss, percent, seconds},
    table::{self, Tone, cell},
};
use crate::report::run::{RequestDifference, RunResults};

/// A table of settings that differ and a table of results; the best result of each row is coloured.
pub fn run_comparison(
    ids: &[String],
    differences: &[RequestDifference],
    results: &[RunResults],
    layout: Layout,
) -> String {
    let header = |first| -> Vec<&str> { [first].into_iter().chain(ids.iter().map(String::as_str)).collect() };
    let requests = match differences {
        [] => "The requests are the same.\n".to_owned(),
        _ => {
            let mut table = table::table(layout, &header("request<"));
            for RequestDifference { name, values } in differences {
                let values = values.iter().map(|value| Cell::new(value.as_deref().unwrap_or("-")));
                table.add_row([Cell::new(name)].into_iter().chain(values));
            }
            table::text(&table)
        }
    };
    let mut table = table::table(layout, &header("result<"));
    for (name, cells) in rows(results) {
        table.add_row([Cell::new(name)].into_iter().chain(cells));
    }
    format!("{requests}\n{}", table::text(&table))
}

/// Which of a row's numbers is the best one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Better {
    Largest,
    Smallest,
}

fn rows(results: &[RunResults]) -> Vec<(&'static str, Vec<Cell>)> {
    let plain = |text: fn(&RunResults) -> String| -> Vec<Cell> {
        results.iter().map(|result| Cell::new(text(result))).collect()
    };
    let ranked =
        |value: fn(&RunResults) -> Option<f64>, better, text: fn(Option<f64>) -> String| -> Vec<Cell> {
            let values: Vec<Option<f64>> = results.iter().map(value).collect();
            let best_value = best_value(&values, better);
            let tone = |value: &Option<f64>| {
                if best_value.is_some() && *value == best_value { Tone::Good } else { Tone::Plain }
            };
            values.iter().map(|value| cell(text(*value), tone(value))).collect()
        };
    let whole =
        |speed: Option<f64>| speed.map_or_else(|| "-".to_owned(), |speed| count(speed.round() as i64));
    let time = |time: Option<f64>| time.map_or_else(|| "-".to_owned(), seconds);
    vec![
        ("state", plain(|it| enum_label(it.state, "RUN_STATE"))),
        ("epochs", plain(|it| it.epochs.to_string())),
        ("best epoch", plain(|it| optional(it.best_epoch))),
        ("validation accuracy", ranked(|it| it.validation_accuracy, Better::Largest, percent)),
        ("validation loss", ranked(|it| it.validation_loss, Better::Smallest, loss)),
        ("training accuracy, last epoch", ranked(|it| it.train_accuracy, Better::Largest, percent)),
        ("training loss, last epoch", ranked(|it| it.train_loss, Better::Smallest, loss)),
        ("duration", ranked(|it| it.seconds, Better::Smallest, time)),
        ("images/s", ranked(|it| it.images_per_second, Better::Largest, whole)),
        ("version", plain(|it| optional(it.version))),
    ]
}

fn optional(number: Option<i32>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

/// The best number of a row; none where all are equal or fewer than two are known.
fn best_value(values: &[Option<f64>], better: Better) -> Option<f64> {
    let finite = || values.iter().copied().flatten().filter(|value| value.is_finite());
    let (low, high) = (finite().reduce(f64::min)?, finite().reduce(f64::max)?);
    (low < high).then_some(if better == Better::Largest { high } else { low })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> [RunResults; 2] {
        let one = RunResults {
            state: "RUN_STATE_COMPLETED",
            epochs: 3,
            best_epoch: Some(3),
            validation_accuracy: Some(0.989),
            train_loss: Some(f64::NAN),
            images_per_second: Some(7200.4),
            ..Default::default()
        };
        let other = RunResults { validation_accuracy: Some(0.981), train_loss: Some(0.1), ..one.clone() };
        [one, other]
    }

    fn shown(layout: Layout) -> String {
        let ids = ["01a20996".to_owned(), "01a20997".to_owned()];
        let values = vec![Some("sgd".to_owned()), None];
        let differences = [RequestDifference { name: "optimizer".to_owned(), values }];
        run_comparison(&ids, &differences, &results(), layout)
    }

    #[test]
    fn a_row_for_each_difference_and_each_result() {
        let text = shown(Layout::PLAIN);
        let row = |name: &str| {
            let line = text.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
            line.split("  ").map(str::trim).filter(|word| !word.is_empty()).collect::<Vec<_>>()
        };
        assert_eq!(row("request"), ["request", "01a20996", "01a20997"]);
        assert_eq!(row("optimizer"), ["optimizer", "sgd", "-"]);
        assert_eq!(row("validation accuracy"), ["validation accuracy", "98.90 %", "98.10 %"]);
        assert_eq!(row("training loss, last epoch"), ["training loss, last epoch", "NaN", "0.1000"]);
        assert_eq!(row("images/s"), ["images/s", "7 200", "7 200"]);
        assert_eq!(row("version"), ["version", "-", "-"]);
    }

    #[test]
    fn the_best_of_a_row_is_marked_and_no_tie() {
        assert_eq!(best_value(&[Some(0.989), Some(0.981), None], Better::Largest), Some(0.989));
        assert_eq!(best_value(&[Some(f64::NAN), Some(0.2), Some(0.1)], Better::Smallest), Some(0.1));
        assert_eq!(best_value(&[Some(1.0), Some(1.0)], Better::Largest), None);
        let coloured = |row: &str| {
            shown(Layout::COLORED).lines().any(|line| line.contains(row) && line.contains("\u{1b}[38"))
        };
        assert!(coloured("98.90 %") && !coloured("images/s"));
    }

    #[test]
    fn equal_requests_are_reported_as_such() {
        let text = run_comparison(&["a".to_owned(), "b".to_owned()], &[], &results(), Layout::PLAIN);
        assert!(text.starts_with("The requests are the same.\n"), "{text}");
    }
}
