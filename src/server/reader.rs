//! Reads the pictures of requests on threads that may block, a few calls at a time: decoding never
//! runs on an async thread, and what waits for it is bounded.

use std::{
    cell::Cell,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use prometheus::IntCounter;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{
    convert::picture::{Checked, Seen},
    status,
};

/// Calls that may wait for each decoder: enough to keep it busy, few enough to be served soon.
const WAITING_PER_DECODER: usize = 32;

/// For so long a call has a decoder while others wait for one: a call of many pictures delays theirs by
/// little.
const TURN: Duration = Duration::from_millis(50);

/// How long work takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// No longer than copying a few pictures: it is done where the call is.
    Light,
    /// It gets a thread.
    Heavy,
}

/// The decoders; clones share them.
#[derive(Debug, Clone)]
pub struct Reader {
    /// One permit for each call that decodes: each may hold a picture of 4096 × 4096 pixels. It is given
    /// back after each turn, between two pictures.
    decoders: Arc<Semaphore>,
    /// One permit for each call that decodes or waits to.
    admitted: Arc<Semaphore>,
    /// Calls that were refused.
    refused: IntCounter,
}

impl Reader {
    /// As many decoders as the machine has cores. Calls that are refused are counted.
    pub fn new(refused: IntCounter) -> Self {
        Self::with_decoders(thread::available_parallelism().map_or(1, usize::from), refused)
    }

    fn with_decoders(decoders: usize, refused: IntCounter) -> Self {
        let admitted = Arc::new(Semaphore::new(decoders * (1 + WAITING_PER_DECODER)));
        Self { decoders: Arc::new(Semaphore::new(decoders)), admitted, refused }
    }

    /// The pictures as the network takes them. Errors name the picture, or say that too many wait.
    pub async fn read(&self, pictures: Checked) -> Result<Seen, Status> {
        let unread = match pictures {
            Checked::Ready(seen) => return Ok(seen),
            Checked::Unread(unread) => unread,
        };
        let weight = if unread.is_light() { Weight::Light } else { Weight::Heavy };
        let pictures = self.work(weight, move |stopped| unread.read(stopped)).await??;
        Ok(pictures.expect("reading stops only when nobody waits here"))
    }

    /// Does work on a call's pictures. It asks between two of them whether nobody waits for it any more,
    /// and has to wait there where its turn is over. Errors when too many calls wait.
    pub async fn work<T: Send + 'static>(
        &self,
        weight: Weight,
        work: impl FnOnce(&dyn Fn() -> bool) -> T + Send + 'static,
    ) -> Result<T, Status> {
        match weight {
            Weight::Light => return Ok(work(&|| false)),
            Weight::Heavy => {}
        }
        let Ok(_admitted) = self.admitted.try_acquire() else {
            self.refused.inc();
            return Err(status::decoders_busy());
        };
        let decoder = self.decoders.clone().acquire_owned().await;
        let decoder = decoder.expect("the semaphore is never closed");
        // Dropped when the caller goes away, which ends the work of a thread that cannot be.
        let gone = CancellationToken::new();
        let _waiting = gone.clone().drop_guard();
        let (decoders, runtime) = (self.decoders.clone(), Handle::current());
        let task = spawn_blocking(move || {
            let lent = Lent { decoders, decoder: Cell::new(Some(decoder)), since: Cell::new(Instant::now()) };
            work(&|| {
                lent.pass_on(&runtime);
                gone.is_cancelled()
            })
        });
        task.await.map_err(status::lost)
    }
}

/// A decoder that a call has for a turn.
struct Lent {
    decoders: Arc<Semaphore>,
    decoder: Cell<Option<OwnedSemaphorePermit>>,
    since: Cell<Instant>,
}

impl Lent {
    /// Lets those first who wait already, where the turn is over.
    fn pass_on(&self, runtime: &Handle) {
        if self.since.get().elapsed() < TURN {
            return;
        }
        drop(self.decoder.take());
        let decoder = runtime.block_on(self.decoders.clone().acquire_owned());
        self.decoder.set(Some(decoder.expect("the semaphore is never closed")));
        self.since.set(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        data::{Frame, image::Normalization},
        pb::digitd::v1::{self, image::Form},
        server::convert::picture,
    };

    fn undecodable() -> Checked {
        let image = v1::Image { form: Some(Form::Encoded(Bytes::from_static(b"no picture"))) };
        let reads = picture::Reads { frame: Frame::MNIST, encoded: Normalization::Auto, knows_blank: true };
        let given = picture::Given { images: vec![image], ..picture::Given::default() };
        picture::check(given, reads).unwrap()
    }

    #[tokio::test]
    async fn a_call_of_many_pictures_lets_others_have_their_turn() {
        let reader = Reader::with_decoders(1, IntCounter::new("refused", "Refused.").unwrap());
        let (many, began) = (reader.clone(), Arc::new(Semaphore::new(0)));
        let told = began.clone();
        let endless = tokio::spawn(async move {
            let work = move |stopped: &dyn Fn() -> bool| {
                told.add_permits(1);
                while !stopped() {}
            };
            many.work(Weight::Heavy, work).await
        });
        began.acquire().await.unwrap().forget();
        let other = tokio::time::timeout(Duration::from_secs(60), reader.work(Weight::Heavy, |_| 7)).await;
        assert_eq!(other.expect("it has its turn").unwrap(), 7);
        endless.abort();
    }

    #[tokio::test]
    async fn more_calls_than_may_wait_are_refused() {
        let reader = Reader::with_decoders(1, IntCounter::new("refused", "Refused.").unwrap());
        let _busy = reader.decoders.clone().acquire_owned().await.unwrap();
        let mut waiting = Vec::new();
        for _ in 0..=WAITING_PER_DECODER {
            let mut read = Box::pin({
                let reader = reader.clone();
                async move { reader.read(undecodable()).await }
            });
            assert!(futures::poll!(&mut read).is_pending());
            waiting.push(read);
        }
        let refused = reader.read(undecodable()).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        assert_eq!(reader.refused.get(), 1);
        drop(waiting);
        assert_eq!(reader.admitted.available_permits(), 1 + WAITING_PER_DECODER);
    }
}
