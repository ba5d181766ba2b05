//! Following a run to its end on the screen; Ctrl-C asks the server to stop it.

use std::pin::pin;

use super::{
    Error, Outcome,
    output::{Progress, Style},
    serve::Signals,
    session::Session,
};
use crate::{
    client::Events,
    pb::digitd::v1::{RunFinished, RunState, TrainRequest, train_event::Event},
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
    Screen::new(style, interrupt)?.follow(session, events).await
}

/// Starts a run and shows it to its end. Ctrl-C counts from the beginning: a run that is still being
/// prepared is cancelled as soon as it has an id.
pub async fn start(session: &Session, request: TrainRequest, style: Style) -> Result<Followed, Error> {
    let mut screen = Screen::new(style, Interrupt::CancelsRun)?;
    let mut starting = pin!(session.client.train(request));
    let mut events = loop {
        tokio::select! {
            started = &mut starting => break started?,
            () = screen.signals.next() => if let Some(followed) = screen.interrupted(session, "").await? {
                return Ok(followed);
            }
        }
    };
    screen.follow(session, &mut events).await
}

/// Where a run is shown, and what the person before it has asked for.
struct Screen {
    progress: Progress,
    signals: Signals,
    interrupt: Interrupt,
    wish: Wish,
    /// The run is queued.
    waits: bool,
}

impl Screen {
    fn new(style: Style, interrupt: Interrupt) -> Result<Self, Error> {
        let (progress, signals) = (Progress::new(style), Signals::new()?);
        Ok(Self { progress, signals, interrupt, wish: Wish::None, waits: false })
    }

    async fn follow(&mut self, session: &Session, events: &mut Events) -> Result<Followed, Error> {
        let mut checkpoint = None;
        let mut last = None;
        loop {
            tokio::select! {
                event = events.next() => match event? {
                    Some(event) => {
                        self.progress.show(&event);
                        // The answer to validate_only has no id: there is nothing to cancel.
                        if self.wish == Wish::CancelOnceBegun && !events.run_id().is_empty() {
                            self.wish = Wish::Cancelling;
                            session.client.cancel_run(events.run_id()).await?;
                        }
                        self.waits = matches!(event.event, Some(Event::Queued(_)));
                        match event.event {
                            Some(Event::Checkpoint(written)) => checkpoint = Some(written.key),
                            Some(Event::Finished(finished)) => last = Some(finished),
                            Some(Event::Started(_) | Event::Queued(_)) => last = None,
                            _ => {}
                        }
                    }
                    None => return Ok(match last {
                        Some(finished) => ended(&self.progress, events.run_id(), finished, checkpoint),
                        None => Followed { outcome: Outcome::Done, finished: None },
                    }),
                },
                () = self.signals.next() => {
                    if let Some(followed) = self.interrupted(session, events.run_id()).await? {
                        return Ok(followed);
                    }
                }
            }
        }
    }

    /// Ctrl-C: asks for the end of the run, or ends the watching.
    async fn interrupted(&mut self, session: &Session, run_id: &str) -> Result<Option<Followed>, Error> {
        if self.wish != Wish::None || self.interrupt == Interrupt::EndsWatching {
            self.progress.note(&left_alone(session, run_id));
            return Ok(Some(Followed { outcome: Outcome::Cancelled, finished: None }));
        }
        self.progress.note(match self.waits {
            true => "leaving the queue; once more to leave at once",
            false => "stopping after this batch; once more to leave at once",
        });
        self.wish = match run_id {
            "" => Wish::CancelOnceBegun,
            _ => Wish::Cancelling,
        };
        if self.wish == Wish::Cancelling {
            session.client.cancel_run(run_id).await?;
        }
        Ok(None)
    }
}

/// What the person at the keyboard asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    None,
    /// The run has no id yet: it is cancelled as soon as it has one.
    CancelOnceBegun,
    Cancelling,
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
        false if run_id.is_empty() => "the run may still begin: `digitd runs list`".to_owned(),
        false => format!("run {run_id} goes on: `digitd runs watch {run_id}`"),
    }
}
