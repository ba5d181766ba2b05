//! The events of a run as one unbroken sequence: where the stream breaks, it is taken up again
//! after the last event that came.

use std::time::Duration;

use tonic::{Code, Streaming};

use super::{Client, Error, error::is_passing};
use crate::pb::digitd::v1::{TrainEvent, TrainRequest, WatchRunRequest, train_event::Event};

/// Failures in a row, before a stream counts as lost.
const MAX_FAILURES: u32 = 8;

/// Wait after the first of them; it doubles from one to the next.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// Longest wait between two tries.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// The events of a run, in order and without gaps, to its end.
#[derive(Debug)]
pub struct Events {
    client: Client,
    run_id: String,
    last_sequence: i32,
    stream: Option<Streaming<TrainEvent>>,
    ended: Ended,
    /// Failures since the last event, and what the newest was.
    failures: u32,
    cause: String,
}

#[derive(Debug, PartialEq, Eq)]
enum Ended {
    No,
    /// The last event was `finished`: the stream ends, or reads on where the run was resumed. Or it was
    /// `validated`, behind which nothing comes.
    Finished,
    Yes,
}

impl Client {
    /// Starts a run and follows it to its end; where only validation is asked for, its one event. Errors when the server refuses the request.
    pub async fn train(&self, request: TrainRequest) -> Result<Events, Error> {
        let stream = self.training().train(request).await?.into_inner();
        Ok(Events::new(self.clone(), String::new(), 0, Some(stream)))
    }

    /// Replays a run's events after event `after` (0: all of them), then follows it to its end.
    pub async fn watch(&self, run_id: &str, after: i32) -> Result<Events, Error> {
        let mut events = Events::new(self.clone(), run_id.to_owned(), after, None);
        events.stream = Some(events.reattach().await?);
        Ok(events)
    }
}

impl Events {
    fn new(client: Client, run_id: String, after: i32, stream: Option<Streaming<TrainEvent>>) -> Self {
        Self {
            client,
            run_id,
            last_sequence: after,
            stream,
            ended: Ended::No,
            failures: 0,
            cause: String::new(),
        }
    }

    /// The run's id; empty before the first event of a run that was started here, and where a request is
    /// only validated.
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// The next event; none after the last `finished`, or after `validated`. A broken connection is mended on the way: for some
    /// 20 seconds a server that went away may come back.
    ///
    /// Dropping the future loses no event.
    pub async fn next(&mut self) -> Result<Option<TrainEvent>, Error> {
        while self.ended != Ended::Yes {
            let Some(stream) = &mut self.stream else {
                self.mend().await?;
                continue;
            };
            match stream.message().await {
                Ok(Some(event)) => {
                    if let Some(event) = self.take(event) {
                        return Ok(Some(event));
                    }
                }
                Ok(None) if self.ended == Ended::Finished => self.ended = Ended::Yes,
                // All that was told has come; that the connection broke behind it matters to nobody.
                Err(_) if self.ended == Ended::Finished => self.ended = Ended::Yes,
                Ok(None) if self.run_id.is_empty() => return Err(Error::Incomplete("event")),
                Ok(None) => self.broke("the server ended the stream".to_owned()),
                Err(status) if self.run_id.is_empty() || !has_broken(status.code()) => {
                    return Err(status.into());
                }
                Err(status) => self.broke(Error::from(status).to_string()),
            }
        }
        Ok(None)
    }

    /// Notes an event as seen; none where it was seen before.
    fn take(&mut self, event: TrainEvent) -> Option<TrainEvent> {
        if let Some(Event::Validated(_)) = event.event {
            // It has no number and no run.
            self.ended = Ended::Finished;
            return Some(event);
        }
        if event.sequence <= self.last_sequence {
            return None;
        }
        self.failures = 0;
        self.last_sequence = event.sequence;
        self.run_id.clone_from(&event.run_id);
        self.ended = match event.event {
            Some(Event::Finished(_)) => Ended::Finished,
            _ => Ended::No,
        };
        Some(event)
    }

    fn broke(&mut self, cause: String) {
        self.stream = None;
        self.cause = cause;
    }

    /// Waits, longer from failure to failure, and tries once to take the stream up again.
    async fn mend(&mut self) -> Result<(), Error> {
        if self.failures == MAX_FAILURES {
            return Err(self.lost(self.cause.clone()));
        }
        tokio::time::sleep((FIRST_WAIT * 2_u32.pow(self.failures)).min(MAX_WAIT)).await;
        self.failures += 1;
        match self.reattach().await {
            Ok(stream) => self.stream = Some(stream),
            Err(error) if error.is_passing() => self.cause = error.to_string(),
            Err(error) => return Err(self.lost(error.to_string())),
        }
        Ok(())
    }

    fn lost(&self, cause: String) -> Error {
        Error::Lost { run_id: self.run_id.clone(), after: self.last_sequence, cause }
    }

    async fn reattach(&self) -> Result<Streaming<TrainEvent>, Error> {
        let request = WatchRunRequest { run_id: self.run_id.clone(), after_sequence: self.last_sequence };
        Ok(self.client.training().watch_run(request).await?.into_inner())
    }
}

/// Whether a stream that ended with `code` broke: the connection went, or the server let it go.
fn has_broken(code: Code) -> bool {
    is_passing(code) || matches!(code, Code::Internal | Code::Cancelled)
}
