//! The progress of a run on the screen: a bar on a terminal, plain lines elsewhere, JSON for programs.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::terminal;
use crate::{
    pb::digitd::v1::{TrainEvent, train_event::Event},
    report::{json, text::RunProgress},
};

/// The interval between two redraws of the bar, so that its clock moves while a long step or a validation runs.
const REDRAW_INTERVAL: Duration = Duration::from_millis(250);

/// The form in which a run is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressFormat {
    /// A bar that moves, and a line for every epoch.
    Bar,
    /// A bar that moves, and above it a line for every report.
    BarAndLines,
    /// A line for every report.
    Plain,
    /// One event of the contract a line, as grpcurl prints them but on one line.
    Json,
}

impl ProgressFormat {
    /// The form that suits standard output and standard error.
    pub fn for_terminal() -> Self {
        let terminal = console::user_attended() && console::user_attended_stderr();
        if terminal { Self::Bar } else { Self::Plain }
    }

    /// The same with a line for every report, also where there is a bar.
    pub fn with_lines(self) -> Self {
        if self == Self::Bar { Self::BarAndLines } else { self }
    }

    /// JSON where it was requested, else the form that suits the terminal.
    pub fn json_or_terminal(json: bool) -> Self {
        if json { Self::Json } else { Self::for_terminal() }
    }
}

/// Shows the events of one run.
pub struct ProgressView {
    format: ProgressFormat,
    bar: ProgressBar,
    run: RunProgress,
}

impl ProgressView {
    pub fn new(format: ProgressFormat) -> Self {
        let bar = match format {
            ProgressFormat::Bar | ProgressFormat::BarAndLines => {
                ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr())
            }
            ProgressFormat::Plain | ProgressFormat::Json => ProgressBar::hidden(),
        };
        let template = "{prefix} {wide_bar:.green} {pos}/{len} {msg}";
        let style = ProgressStyle::with_template(template).expect("the template is valid");
        bar.set_style(style.progress_chars("━╸ "));
        Self { format, bar, run: RunProgress::default() }
    }

    /// Shows one event.
    pub fn show(&mut self, event: &TrainEvent) {
        self.run.observe(event);
        self.move_bar(event);
        let is_in_bar = matches!(event.event, Some(Event::Batch(_) | Event::Checkpoint(_)));
        let line = match self.format {
            ProgressFormat::Json => Some(json::line("TrainEvent", event)),
            ProgressFormat::Bar if is_in_bar => None,
            ProgressFormat::Plain | ProgressFormat::Bar | ProgressFormat::BarAndLines => {
                self.run.line(event, terminal::layout())
            }
        };
        if let Some(line) = line {
            self.bar.suspend(|| terminal::print(&format!("{line}\n")));
        }
    }

    /// Shows a line on standard error, beside what programs read.
    pub fn note(&self, line: &str) {
        self.bar.suspend(|| terminal::print_error(&format!("{line}\n")));
    }

    fn move_bar(&mut self, event: &TrainEvent) {
        match &event.event {
            Some(Event::Started(_)) => {
                self.bar.set_length(self.run.total_steps());
                self.bar.set_prefix(self.run.bar_prefix(1));
                self.bar.enable_steady_tick(REDRAW_INTERVAL);
            }
            Some(Event::Batch(batch)) => {
                self.bar.set_prefix(self.run.bar_prefix(batch.epoch));
                self.bar.set_position(i64::from(batch.step).unsigned_abs());
                self.bar.set_message(self.run.bar_message(event, batch));
            }
            Some(Event::Epoch(epoch)) => self.bar.set_position(self.run.steps_after(epoch.epoch)),
            Some(Event::Finished(_)) => self.bar.finish_and_clear(),
            Some(
                Event::Inspection(_)
                | Event::Warning(_)
                | Event::Checkpoint(_)
                | Event::Validated(_)
                | Event::Queued(_),
            )
            | None => {}
        }
    }
}
