//! An evaluation as a stream: how far it has come, then its answer.

use std::pin::Pin;

use futures::{Stream, StreamExt, stream};
use tokio::sync::watch;
use tonic::Status;

use super::convert::evaluation::{from_finished, from_progress};
use crate::{
    engine::{Engine, Error, EvaluateJob, Evaluated, Progress},
    pb::digitd::v1,
};

/// Progress, the answer, and the end.
pub type EvaluateStream = Pin<Box<dyn Stream<Item = Result<v1::EvaluateEvent, Status>> + Send>>;

/// An evaluation under way. Dropping it stops the work after its batch.
struct Running<F> {
    measured: Pin<Box<F>>,
    /// None once the work is over, so that only the answer is left.
    told: Option<watch::Receiver<Progress>>,
}

/// Starts an evaluation. A caller that reads slowly misses progress, and holds up nothing.
pub fn evaluate(engine: Engine, job: EvaluateJob) -> EvaluateStream {
    let (tell, told) = watch::channel(Progress::default());
    let measured = async move { engine.evaluate(job, tell).await };
    let running = Running { measured: Box::pin(measured), told: Some(told) };
    stream::unfold(Some(running), |running| async move {
        let mut running = running?;
        match running.next().await {
            Step::Progress(progress) => Some((Ok(from_progress(progress)), Some(running))),
            Step::End(Ok(evaluated)) => Some((Ok(from_finished(*evaluated)), None)),
            Step::End(Err(error)) => Some((Err(error.into()), None)),
        }
    })
    .boxed()
}

/// What happens next.
enum Step {
    Progress(Progress),
    End(Result<Box<Evaluated>, Error>),
}

impl<F: Future<Output = Result<Evaluated, Error>>> Running<F> {
    async fn next(&mut self) -> Step {
        if let Some(told) = &mut self.told {
            tokio::select! {
                biased;
                // What was told before the end comes before the end.
                changed = told.changed() => match changed {
                    Ok(()) => return Step::Progress(*told.borrow_and_update()),
                    Err(_) => self.told = None,
                },
                ended = &mut self.measured => return Step::End(ended.map(Box::new)),
            }
        }
        Step::End(self.measured.as_mut().await.map(Box::new))
    }
}
