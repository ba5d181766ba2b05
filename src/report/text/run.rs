//! Runs: a table of many, the fields of one.

use comfy_table::ColumnConstraint;

use super::{
    layout::Layout,
    names::enum_label,
    number::{count, loss, percent},
    table::{self, Tone, cell},
    time::{date_time, short_time},
    warning::rule_label,
};
use crate::{
    pb::digitd::v1::{FinishReason, Run, RunState},
    report::json,
};

/// A row for every run, with the accuracy of its last validation. A table that is too wide leaves out the
/// start times, which the order of the rows implies, and then the models.
pub fn run_list(runs: &[Run], layout: Layout) -> String {
    let mut table =
        table::table(layout, &["run<", "state<", "model<", "epoch", "validation", "version", "started<"]);
    // The id is for copying: it stays in one piece.
    if let Some(id) = table.column_mut(0) {
        id.set_constraint(ColumnConstraint::ContentWidth);
    }
    for run in runs {
        let state = RunState::try_from(run.state).unwrap_or_default();
        let tone = match state {
            RunState::Completed => Tone::Good,
            RunState::Failed | RunState::Interrupted => Tone::Bad,
            RunState::Unspecified | RunState::Queued | RunState::Running | RunState::Cancelled => Tone::Plain,
        };
        table.add_row([
            cell(&run.run_id, Tone::Plain),
            cell(enum_label(state.as_str_name(), "RUN_STATE"), tone),
            cell(run.request.as_ref().map(|request| request.model.as_str()).unwrap_or_default(), Tone::Plain),
            cell(epochs(run), Tone::Plain),
            cell(percent(run.validation_accuracy), Tone::Plain),
            cell(run.version.map_or_else(|| "-".to_owned(), |version| version.to_string()), Tone::Plain),
            cell(short_time(run.create_time.as_ref()), Tone::Plain),
        ]);
    }
    table::fit(&mut table, layout.width, &[6, 2]);
    table::text(&table)
}

/// The fields of one run, and its request.
pub fn run(run: &Run) -> String {
    let state = RunState::try_from(run.state).unwrap_or_default();
    let reason = FinishReason::try_from(run.reason).unwrap_or_default();
    let mut facts =
        vec![("run", run.run_id.clone()), ("state", enum_label(state.as_str_name(), "RUN_STATE"))];
    if reason != FinishReason::Unspecified {
        facts.push(("reason", enum_label(reason.as_str_name(), "FINISH_REASON")));
    }
    if !run.message.is_empty() {
        facts.push(("message", run.message.clone()));
    }
    facts.push(("started", date_time(run.create_time.as_ref())));
    if run.end_time.is_some() {
        facts.push(("ended", date_time(run.end_time.as_ref())));
    }
    facts.push(("epoch", epochs(run)));
    facts.push(("batches", count(run.step.unwrap_or_default())));
    facts.push(("training", both(run.train_loss, run.train_accuracy)));
    facts.push(("validation", both(run.validation_loss, run.validation_accuracy)));
    if let Some(epoch) = run.best_epoch {
        facts.push(("best epoch", epoch.to_string()));
    }
    if let Some(version) = run.version {
        facts.push(("version", version.to_string()));
    }
    if !run.warnings.is_empty() {
        let rules: Vec<String> = run.warnings().map(rule_label).collect();
        facts.push(("warnings", rules.join(", ")));
    }
    let request = run.request.as_ref().map(|request| json::text("TrainRequest", request)).unwrap_or_default();
    let facts: String = facts.iter().map(|(name, fact)| format!("{name:<11} {fact}\n")).collect();
    format!("{facts}request     {request}\n")
}

fn epochs(run: &Run) -> String {
    let epochs = run.request.as_ref().and_then(|request| request.epochs).unwrap_or_default();
    format!("{}/{epochs}", run.epoch.unwrap_or_default())
}

fn both(value: Option<f64>, accuracy: Option<f64>) -> String {
    format!("loss {}, accuracy {}", loss(value), percent(accuracy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::digitd::v1::TrainRequest;

    fn cancelled() -> Run {
        Run {
            run_id: "0192f0c1-7d1e-7cc3-98c4-dc0c0c07398f".to_owned(),
            state: RunState::Cancelled.into(),
            reason: FinishReason::Cancelled.into(),
            request: Some(TrainRequest { model: "digits".to_owned(), epochs: Some(5), ..Default::default() }),
            epoch: Some(2),
            create_time: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 }),
            validation_accuracy: Some(0.98),
            ..Default::default()
        }
    }

    #[test]
    fn a_run_is_a_row_that_fits() {
        let text = run_list(&[cancelled()], Layout::PLAIN);
        let row = text.lines().last().unwrap();
        assert!(row.contains("cancelled") && row.contains("2/5") && row.contains("98.00 %"), "{row}");
        assert!(row.starts_with(" 0192f0c1-7d1e-7cc3-98c4-dc0c0c07398f "), "{row}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }

    #[test]
    fn a_narrow_terminal_gets_whole_rows_of_fewer_columns() {
        let interrupted = Run { state: RunState::Interrupted.into(), ..cancelled() };
        let text = run_list(&[interrupted], Layout { width: 80, ..Layout::PLAIN });
        assert!(text.lines().all(|line| line.chars().count() <= 80) && text.lines().count() == 3, "{text}");
        assert!(text.contains("98.00 %") && !text.contains("started"), "{text}");
        assert!(
            text.lines().last().unwrap().ends_with(" -"),
            "a version that is not there is a dash:\n{text}"
        );
    }

    #[test]
    fn one_run_shows_its_request_as_json() {
        let text = run(&cancelled());
        assert!(text.contains("state       cancelled\n"), "{text}");
        assert!(text.contains("\"epochs\": 5"), "{text}");
        assert!(!text.contains("version "), "{text}");
    }
}
