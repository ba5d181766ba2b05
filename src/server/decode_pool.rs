//! Decodes the images of requests on blocking threads, a few calls at a time: decoding never runs on an async
//! thread, and the number of calls that wait for it is limited.

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
    convert::shared::images::{CheckedImages, DecodedImages},
    status,
};

/// Calls that may wait for each decoder: enough to keep it busy, and few enough to be served soon.
const WAITING_PER_DECODER: usize = 32;

/// How long a call keeps a decoder while others wait for one, so that a call with many images delays them
/// little.
const MAX_TURN: Duration = Duration::from_millis(50);

/// How long work takes, and therefore where it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// The work takes no longer than copying a few images, and runs on the thread of the call.
    Inline,
    /// The work runs on a blocking thread.
    Offload,
}

/// The decoders of the server; clones share them.
#[derive(Debug, Clone)]
pub struct DecodePool {
    /// One permit for each call that decodes, because each may hold an image of 4096 × 4096 pixels, and one of them a larger one. A call
    /// gives it back after each turn, between two images.
    decoders: Arc<Semaphore>,
    /// One permit for each call that decodes or waits for a decoder.
    admitted: Arc<Semaphore>,
    /// Counts the calls that were rejected.
    rejected: IntCounter,
}

impl DecodePool {
    /// A pool with as many decoders as the machine has cores. `rejected` counts the calls that it rejects.
    pub fn new(rejected: IntCounter) -> Self {
        Self::with_decoders(thread::available_parallelism().map_or(1, usize::from), rejected)
    }

    fn with_decoders(decoders: usize, rejected: IntCounter) -> Self {
        let admitted = Arc::new(Semaphore::new(decoders * (1 + WAITING_PER_DECODER)));
        Self { decoders: Arc::new(Semaphore::new(decoders)), admitted, rejected }
    }

    /// The images in the form that the network takes. Errors name the image, or say that too many calls wait.
    pub async fn read(&self, images: CheckedImages) -> Result<DecodedImages, Status> {
        let encoded = match images {
            CheckedImages::Ready(decoded) => return Ok(decoded),
            CheckedImages::Encoded(encoded) => encoded,
        };
        let cost = if encoded.is_inline() { Cost::Inline } else { Cost::Offload };
        let decoded = self.work(cost, move |stopped| encoded.read(stopped)).await??;
        Ok(decoded.expect("decoding stops only when nobody waits for it"))
    }

    /// Runs work on the images of a call. The work calls its argument between two images: that call waits if
    /// the turn is over and others wait, and returns true if the caller has disconnected. Errors if too many calls
    /// wait.
    pub async fn work<T: Send + 'static>(
        &self,
        cost: Cost,
        work: impl FnOnce(&dyn Fn() -> bool) -> T + Send + 'static,
    ) -> Result<T, Status> {
        match cost {
            Cost::Inline => return Ok(work(&|| false)),
            Cost::Offload => {}
        }
        let Ok(_admitted) = self.admitted.try_acquire() else {
            self.rejected.inc();
            return Err(status::decoders_busy());
        };
        let decoder = self.decoders.clone().acquire_owned().await;
        let decoder = decoder.expect("the semaphore is never closed");
        // A blocking thread cannot be dropped, so the token that the caller drops ends its work.
        let abandoned = CancellationToken::new();
        let _cancel_on_drop = abandoned.clone().drop_guard();
        let (decoders, runtime) = (self.decoders.clone(), Handle::current());
        let task = spawn_blocking(move || {
            let permit = DecodePermit {
                decoders,
                decoder: Cell::new(Some(decoder)),
                since: Cell::new(Instant::now()),
            };
            work(&|| {
                permit.yield_turn(&runtime);
                abandoned.is_cancelled()
            })
        });
        task.await.map_err(status::lost)
    }
}

/// The decoder that a call has for one turn.
struct DecodePermit {
    decoders: Arc<Semaphore>,
    decoder: Cell<Option<OwnedSemaphorePermit>>,
    since: Cell<Instant>,
}

impl DecodePermit {
    /// If the turn is over, lets the calls go first that wait already.
    fn yield_turn(&self, runtime: &Handle) {
        if self.since.get().elapsed() < MAX_TURN {
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
        data::{ImageSize, image::Normalization},
        pb::digitd::v1::{self, image::Form},
        server::convert::shared::images,
    };

    fn undecodable() -> CheckedImages {
        let image = v1::Image { form: Some(Form::Encoded(Bytes::from_static(b"no image"))) };
        let spec =
            images::InputSpec { frame: ImageSize::MNIST, encoded: Normalization::Auto, detects_blank: true };
        let inputs = images::ImageInputs { images: vec![image], ..images::ImageInputs::default() };
        images::check(inputs, spec).unwrap()
    }

    #[tokio::test]
    async fn a_call_of_many_images_yields_to_others() {
        let pool = DecodePool::with_decoders(1, IntCounter::new("rejected", "Refused.").unwrap());
        let (many, began) = (pool.clone(), Arc::new(Semaphore::new(0)));
        let counter = began.clone();
        let endless = tokio::spawn(async move {
            let work = move |stopped: &dyn Fn() -> bool| {
                counter.add_permits(1);
                while !stopped() {}
            };
            many.work(Cost::Offload, work).await
        });
        began.acquire().await.unwrap().forget();
        let other = tokio::time::timeout(Duration::from_secs(60), pool.work(Cost::Offload, |_| 7)).await;
        assert_eq!(other.expect("it has its turn").unwrap(), 7);
        endless.abort();
    }

    #[tokio::test]
    async fn calls_beyond_the_queue_limit_are_rejected() {
        let pool = DecodePool::with_decoders(1, IntCounter::new("rejected", "Refused.").unwrap());
        let _busy = pool.decoders.clone().acquire_owned().await.unwrap();
        let mut waiting = Vec::new();
        for _ in 0..=WAITING_PER_DECODER {
            let mut read = Box::pin({
                let pool = pool.clone();
                async move { pool.read(undecodable()).await }
            });
            assert!(futures::poll!(&mut read).is_pending());
            waiting.push(read);
        }
        let rejected = pool.read(undecodable()).await.unwrap_err();
        assert_eq!(rejected.code(), tonic::Code::ResourceExhausted);
        assert_eq!(pool.rejected.get(), 1);
        drop(waiting);
        assert_eq!(pool.admitted.available_permits(), 1 + WAITING_PER_DECODER);
    }
}
