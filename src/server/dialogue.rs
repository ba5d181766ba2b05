//! Streams of questions and answers: a few questions are worked on at once, answers come in their
//! order, and the server's end is told at the stream's.

use std::pin::Pin;

use futures::{Stream, StreamExt, stream};
use tonic::{Status, Streaming};

use super::{
    phase::{Life, Phase},
    status,
};

/// Answers of a stream.
pub type Answers<A> = Pin<Box<dyn Stream<Item = Result<A, Status>> + Send>>;

/// Questions of a stream that are worked on at once: enough to fill a batch while another is
/// computed, few enough that their pictures fit in memory.
const AHEAD: usize = 8;

/// Answers every question until the caller ends the stream or the server goes down.
pub fn answer_all<Q, A, F>(
    questions: Streaming<Q>,
    life: Life,
    answer: impl Fn(Q) -> F + Clone + Send + 'static,
) -> Answers<A>
where
    Q: Send + 'static,
    A: Send + 'static,
    F: Future<Output = A> + Send,
{
    let ending = life.clone();
    let draining = async move { ending.reached(Phase::Draining).await };
    let answers = questions.take_until(draining).map(move |question| {
        let answer = answer.clone();
        // What cannot be read as a question ends the stream: there is no telling whose it was.
        async move { Ok(answer(question?).await) }
    });
    // Questions that were taken are answered, then the caller hears why there are no more.
    let end = stream::once(async move { life.phase() })
        .filter_map(|phase| async move { (phase >= Phase::Draining).then(|| Err(status::draining())) });
    answers.buffered(AHEAD).chain(end).boxed()
}
