//! An evaluation as a stream: its progress, then its response.

use std::pin::Pin;

use futures::{Stream, StreamExt, stream};
use tokio::sync::watch;
use tonic::Status;

use super::convert::analysis::evaluation::{from_finished, from_progress};
use crate::{
    engine::{Engine, Error, EvaluateJob, EvaluationProgress, EvaluationReport},
    pb::digitd::v1,
};

/// Any number of progress events, then the response.
pub type EvaluateStream = Pin<Box<dyn Stream<Item = Result<v1::EvaluateEvent, Status>> + Send>>;

/// An evaluation that runs. Dropping it stops the work after the current batch.
struct RunningEvaluation<F> {
    report: Pin<Box<F>>,
    /// `None` once the work is over and only the response is left.
    progress: Option<watch::Receiver<EvaluationProgress>>,
}

/// Starts an evaluation. A slow caller misses progress events and slows nothing.
pub fn evaluate(engine: Engine, job: EvaluateJob) -> EvaluateStream {
    let (sender, progress) = watch::channel(EvaluationProgress::default());
    let report = async move { engine.evaluate(job, sender).await };
    let running = RunningEvaluation { report: Box::pin(report), progress: Some(progress) };
    stream::unfold(Some(running), |running| async move {
        let mut running = running?;
        match running.next().await {
            NextEvent::EvaluationProgress(progress) => Some((Ok(from_progress(progress)), Some(running))),
            NextEvent::End(Ok(evaluated)) => Some((Ok(from_finished(*evaluated)), None)),
            NextEvent::End(Err(error)) => Some((Err(error.into()), None)),
        }
    })
    .boxed()
}

enum NextEvent {
    EvaluationProgress(EvaluationProgress),
    End(Result<Box<EvaluationReport>, Error>),
}

impl<F: Future<Output = Result<EvaluationReport, Error>>> RunningEvaluation<F> {
    async fn next(&mut self) -> NextEvent {
        if let Some(progress) = &mut self.progress {
            tokio::select! {
                biased;
                // The progress of the work comes before its end, even if both are ready.
                changed = progress.changed() => match changed {
                    Ok(()) => return NextEvent::EvaluationProgress(*progress.borrow_and_update()),
                    Err(_) => self.progress = None,
                },
                ended = &mut self.report => return NextEvent::End(ended.map(Box::new)),
            }
        }
        NextEvent::End(self.report.as_mut().await.map(Box::new))
    }
}
