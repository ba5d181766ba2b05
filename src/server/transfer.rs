//! Files of weights as streams of messages, in both directions: in chunks that fit into a message, and only so
//! many files at once as memory holds.

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::{Instant, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::status;
use crate::{
    checkpoint::import::MAX_BYTES,
    ids::FieldError,
    pb::digitd::v1::{self, export_version_response, import_version_request::Part},
};

/// Most files in transfer at once. Each may take 80 MB of memory.
const MAX_TRANSFERS: usize = 2;

/// Most chunks of a file. Chunks of less than a kilobyte would be more header than content.
const MAX_CHUNKS: usize = 1 << 16;

/// Bytes of an exported chunk, far below the message limit of every client.
const CHUNK: usize = 1 << 20;

/// Exported chunks that may wait for their caller.
const QUEUED_CHUNKS: usize = 2;

/// Longest time between two chunks, so that a caller that stalls does not block others.
const MAX_SILENCE: Duration = Duration::from_secs(30);

/// Longest time that the transfer of a file may take.
const MAX_DURATION: Duration = Duration::from_secs(600);

/// The chunks of an exported file.
pub type ExportStream = ChunkStream<v1::ExportVersionResponse>;

/// Messages of a stream that an error may end early.
pub type ChunkStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Limits the transfers at once; clones share the limit.
#[derive(Debug, Clone)]
pub struct TransferLimit {
    free: Arc<Semaphore>,
    /// The kind of transfer, for the message to a caller that is rejected.
    what: &'static str,
}

impl TransferLimit {
    /// `what` names the transfers in messages, for instance `imports and exports`.
    pub fn new(what: &'static str) -> Self {
        Self { free: Arc::new(Semaphore::new(MAX_TRANSFERS)), what }
    }

    /// Admits a transfer for as long as the permit is held, or rejects it.
    pub fn begin(&self) -> Result<OwnedSemaphorePermit, Status> {
        self.free.clone().try_acquire_owned().map_err(|_| status::transfers_busy(self.what))
    }
}

/// The metadata of an import, which is the first message.
pub async fn metadata(
    messages: &mut (impl Stream<Item = Result<v1::ImportVersionRequest, Status>> + Unpin),
) -> Result<v1::ImportMetadata, Status> {
    match next(messages).await? {
        Some(Part::Metadata(metadata)) => Ok(metadata),
        Some(Part::Chunk(_)) | None => {
            Err(FieldError::new("metadata", "is missing: send it in the first message").into())
        }
    }
}

/// The file of an import, which is all messages after the first.
pub async fn file(
    messages: &mut (impl Stream<Item = Result<v1::ImportVersionRequest, Status>> + Unpin),
) -> Result<Vec<u8>, Status> {
    let collected = tokio::time::timeout(MAX_DURATION, collect(messages)).await;
    collected.unwrap_or_else(|_| Err(status::late(format!("the transfer took longer than {MAX_DURATION:?}"))))
}

/// A version and then its weights. `permit` is released when the last chunk is sent, or when the caller reads
/// no more.
pub fn export(version: v1::ModelVersion, weights: Vec<u8>, permit: OwnedSemaphorePermit) -> ExportStream {
    use export_version_response::Part;
    let chunks = (0..weights.len()).step_by(CHUNK).map(move |start| {
        // Copies, because a slice in a queue would keep the whole file in memory.
        Part::Chunk(Bytes::copy_from_slice(&weights[start..weights.len().min(start + CHUNK)]))
    });
    let parts = std::iter::once(Part::Version(version)).chain(chunks);
    in_chunks(parts.map(|part| v1::ExportVersionResponse { part: Some(part) }), permit)
}

/// Sends messages as fast as their caller takes them. `permit` is released as in `export`.
pub fn in_chunks<T: Send + 'static>(
    messages: impl Iterator<Item = T> + Send + 'static,
    permit: OwnedSemaphorePermit,
) -> ChunkStream<T> {
    let (chunks, ready) = mpsc::channel(QUEUED_CHUNKS);
    let (cut, was_cut) = oneshot::channel();
    tokio::spawn(async move {
        let _permit = permit;
        let end = Instant::now() + MAX_DURATION;
        for message in messages {
            let patience = end.min(Instant::now() + MAX_SILENCE);
            match timeout_at(patience, chunks.send(Ok(message))).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return,
                Err(_) => {
                    let late = match patience == end {
                        true => format!("the transfer took longer than {MAX_DURATION:?}"),
                        false => format!("no chunk was read for {MAX_SILENCE:?}"),
                    };
                    let _ = cut.send(status::late(late));
                    return;
                }
            }
        }
    });
    // An incomplete file ends with an error, never as if it were complete.
    let end = stream::once(was_cut).filter_map(async |cut| cut.ok().map(Err));
    ReceiverStream::new(ready).chain(end).boxed()
}

async fn collect(
    messages: &mut (impl Stream<Item = Result<v1::ImportVersionRequest, Status>> + Unpin),
) -> Result<Vec<u8>, Status> {
    let mut file = Vec::new();
    let rejected = |message: String| Err(FieldError::new("chunk", message).into());
    for _ in 0..MAX_CHUNKS {
        match next(messages).await? {
            None if file.is_empty() => {
                return rejected("is missing: send the file after the metadata".to_owned());
            }
            None => return Ok(file),
            Some(Part::Metadata(_)) => {
                return Err(
                    FieldError::new("metadata", "comes twice: send it in the first message only").into()
                );
            }
            Some(Part::Chunk(chunk)) if chunk.is_empty() => {
                return rejected("is empty: end the stream after the last chunk".to_owned());
            }
            Some(Part::Chunk(chunk)) if file.len() + chunk.len() > MAX_BYTES => {
                return rejected(format!(
                    "makes a file of more than {MAX_BYTES} bytes, which no network needs"
                ));
            }
            Some(Part::Chunk(chunk)) => file.extend_from_slice(&chunk),
        }
    }
    rejected(format!("comes more than {MAX_CHUNKS} times: send larger chunks, for instance of 1 MiB"))
}

/// The part of the next message; `None` at the end of the stream.
async fn next(
    messages: &mut (impl Stream<Item = Result<v1::ImportVersionRequest, Status>> + Unpin),
) -> Result<Option<Part>, Status> {
    match tokio::time::timeout(MAX_SILENCE, messages.next()).await {
        Err(_) => Err(status::late(format!("no message arrived for {MAX_SILENCE:?}"))),
        Ok(None) => Ok(None),
        Ok(Some(message)) => match message?.part {
            Some(part) => Ok(Some(part)),
            None => Err(FieldError::new("chunk", "is missing: a message carries metadata or a chunk").into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn message(part: Part) -> Result<v1::ImportVersionRequest, Status> {
        Ok(v1::ImportVersionRequest { part: Some(part) })
    }

    fn chunk(bytes: &'static [u8]) -> Result<v1::ImportVersionRequest, Status> {
        message(Part::Chunk(Bytes::from_static(bytes)))
    }

    async fn rejected(messages: Vec<Result<v1::ImportVersionRequest, Status>>) -> String {
        let status = file(&mut stream::iter(messages)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        status.message().to_owned()
    }

    #[tokio::test]
    async fn a_file_is_its_chunks_in_order() {
        let metadata_part = Part::Metadata(v1::ImportMetadata::default());
        let mut messages = stream::iter(vec![message(metadata_part), chunk(b"ab"), chunk(b"c")]);
        metadata(&mut messages).await.unwrap();
        assert_eq!(file(&mut messages).await.unwrap(), b"abc");
    }

    #[tokio::test]
    async fn streams_without_a_file_are_rejected() {
        let metadata_part = || Part::Metadata(v1::ImportMetadata::default());
        assert!(metadata(&mut stream::iter(vec![chunk(b"a")])).await.is_err());
        assert!(metadata(&mut stream::iter(vec![])).await.is_err());
        assert!(rejected(vec![]).await.contains("is missing"));
        assert!(rejected(vec![chunk(b"a"), chunk(b"")]).await.contains("is empty"));
        assert!(rejected(vec![message(metadata_part())]).await.contains("comes twice"));
        let nothing = Ok(v1::ImportVersionRequest { part: None });
        assert!(rejected(vec![nothing]).await.contains("metadata or a chunk"));
        assert!(rejected((0..=MAX_CHUNKS).map(|_| chunk(b"a")).collect()).await.contains("larger chunks"));
        let mib = Bytes::from(vec![0; 1 << 20]);
        let endless = (0..100).map(|_| message(Part::Chunk(mib.clone()))).collect();
        assert!(rejected(endless).await.contains("which no network needs"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_caller_times_out() {
        let mut messages = stream::iter(vec![chunk(b"a")]).chain(stream::pending());
        let status = file(&mut messages).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        let pause = || tokio::time::timeout(MAX_SILENCE / 2, std::future::pending::<()>());
        let drip = async |()| Some((pause().await, ()));
        let mut drips = Box::pin(stream::unfold((), drip).map(|_| chunk(b"a")));
        assert_eq!(file(&mut drips).await.unwrap_err().code(), Code::DeadlineExceeded);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_stops_reading_gets_an_error_in_place_of_the_rest() {
        let transfers = TransferLimit::new("imports and exports");
        let weights = vec![1; 9 * CHUNK];
        let mut stream = export(v1::ModelVersion::default(), weights, transfers.begin().unwrap());
        stream.next().await.unwrap().unwrap();
        // Time passes by itself where every task waits: until the permit comes back.
        drop(transfers.free.acquire_many(MAX_TRANSFERS as u32).await.unwrap());
        let rest: Vec<_> = stream.collect().await;
        assert!(rest.len() < 9);
        assert_eq!(rest.last().unwrap().as_ref().unwrap_err().code(), Code::DeadlineExceeded);
    }

    #[tokio::test(start_paused = true)]
    async fn an_overlong_download_is_ended() {
        let transfers = TransferLimit::new("imports and exports");
        let weights = vec![1; 80 * CHUNK];
        let mut stream = export(v1::ModelVersion::default(), weights, transfers.begin().unwrap());
        let mut taken = 0;
        let end = loop {
            // The paused clock advances by itself, less than the silence that is allowed.
            let _ = tokio::time::timeout(MAX_SILENCE / 2, std::future::pending::<()>()).await;
            match stream.next().await.expect("it ends with an error") {
                Ok(_) => taken += 1,
                Err(status) => break status,
            }
        };
        assert_eq!(end.code(), Code::DeadlineExceeded);
        assert!(end.message().contains("600s") && taken < 50, "{end} after {taken}");
    }

    #[tokio::test]
    async fn files_beyond_the_transfer_limit_are_rejected_until_one_ends() {
        let transfers = TransferLimit::new("imports and exports");
        let mut held: Vec<_> = (0..MAX_TRANSFERS).map(|_| transfers.begin().unwrap()).collect();
        let rejected = transfers.begin().unwrap_err();
        assert_eq!(rejected.code(), Code::ResourceExhausted);
        assert_eq!(rejected.message(), "too many imports and exports are under way");
        let stream = export(v1::ModelVersion::default(), vec![1; CHUNK + 1], held.remove(0));
        let messages: Vec<_> = stream.collect().await;
        assert_eq!(messages.len(), 3);
        drop(transfers.begin().unwrap());
    }
}
