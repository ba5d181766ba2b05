//! Following a run to its end on the screen; Ctrl-C asks the server to stop it.

use super::{
    Error, Outcome,
    output::{Progress, Style},
    serve::Signals,
    session::Session,
};
use crate::{
    client::Events,
    pb::digitd::v1::{RunFinished, RunState, train_event::Event},
};

/// What the first Ctrl-C means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupt {
    /// Cancel the run: it was started here.
    CancelsRun,
    /// Stop watching: it was started by someone else.
    EndsWatching,
}

/// How a run was seen to end.
pub struct Followed {
    pub outcome: Outcome,
    /// None where watching ended first.
    pub finished: Option<RunFinished>,
}

/// Shows the events of a run to its end.
pub async fn follow(
    session: &Session,
    events: &mut Events,
    style: Style,
    interrupt: Interrupt,
) -> Result<Followed, Error> {
    let mut progress = Progress::new(style);
    let mut signals = Signals::new()?;
    let mut checkpoint = None;
    let mut cancelling = false;
    loop {
        tokio::select! {
            event = events.next() => match event? {
                Some(event) => {
                    progress.show(&event);
                    match event.event {
                        Some(Event::Checkpoint(written)) => checkpoint = Some(written.key),
                        Some(Event::Finished(finished)) => return Ok(ended(&progress, events.run_id(), finished, checkpoint)),
                        Some(Event::Started(_) | Event::Batch(_) | Event::Epoch(_) | Event::Inspection(_) | Event::Warning(_)) | None => {}
                    }
                }
                None => return Ok(Followed { outcome: Outcome::Done, finished: None }),
            },
            () = signals.next() => {
                if cancelling || interrupt == Interrupt::EndsWatching || events.run_id().is_empty() {
                    progress.note(&left_alone(session, events.run_id()));
                    return Ok(Followed { outcome: Outcome::Cancelled, finished: None });
                }
                cancelling = true;
                progress.note("stopping after this batch; once more to leave at once");
                session.client.cancel_run(events.run_id()).await?;
            }
        }
    }
}

fn ended(progress: &Progress, run_id: &str, finished: RunFinished, checkpoint: Option<String>) -> Followed {
    let outcome = match RunState::try_from(finished.state).unwrap_or_default() {
        RunState::Completed => Outcome::Done,
        RunState::Cancelled => Outcome::Cancelled,
        RunState::Failed
        | RunState::Interrupted
        | RunState::Unspecified
        | RunState::Queued
        | RunState::Running => Outcome::Failed,
    };
    if let (Outcome::Cancelled | Outcome::Failed, Some(key)) = (outcome, checkpoint) {
        progress.note(&format!("its last checkpoint is {key}, under runs/{run_id} in the store"));
    }
    Followed { outcome, finished: Some(finished) }
}

fn left_alone(session: &Session, run_id: &str) -> String {
    match session.is_inside() {
        true => format!("run {run_id} ends with its server and keeps its last checkpoint"),
        false => format!("run {run_id} goes on: `digitd runs watch {run_id}`"),
    }
}
