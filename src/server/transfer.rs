//! Files of weights as streams of messages, in and out: in pieces that fit into a message, and never
//! more of them at once than memory holds.

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::{Instant, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{convert::Invalid, status};
use crate::{
    checkpoint::foreign::MAX_BYTES,
    pb::digitd::v1::{self, export_version_response, import_version_request::Part},
};

/// Files that may be under way at once; each may hold 80 MB.
const AT_ONCE: usize = 2;

/// Most pieces of a file: below a kilobyte each they would be more header than file.
const MAX_CHUNKS: usize = 1 << 16;

/// Bytes of an exported piece: far below what any client takes in a message.
const CHUNK: usize = 1 << 20;

/// Exported pieces that wait for their caller.
const AHEAD: usize = 2;

/// Longest time between two pieces, so that a caller that has stopped holds up no other.
const SILENCE: Duration = Duration::from_secs(30);

/// Longest time that a file may take to come or to go.
const LONGEST: Duration = Duration::from_secs(600);

/// The pieces of an exported file.
pub type ExportStream = Pieces<v1::ExportVersionResponse>;

/// Messages of a stream that may be cut short by an error.
pub type Pieces<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// How many files are under way; clones share it.
#[derive(Debug, Clone)]
pub struct Transfers {
    free: Arc<Semaphore>,
    /// What they are, for the caller who is refused.
    what: &'static str,
}

impl Transfers {
    /// Of `what`, for instance `imports and exports`.
    pub fn new(what: &'static str) -> Self {
        Self { free: Arc::new(Semaphore::new(AT_ONCE)), what }
    }

    /// Admits a file for as long as the permit is held, or refuses it.
    pub fn begin(&self) -> Result<OwnedSemaphorePermit, Status> {
        self.free.clone().try_acquire_owned().map_err(|_| status::transfers_busy(self.what))
    }
}

/// What a caller imports: the first message.
pub async fn metadata(
    messages: &mut (impl Stream<Item = Result<v1::ImportVersionRequest, Status>> + Unpin),
) -> Result<v1::ImportMetadata, Status> {
    match next(messages).await? {
        Some(Part::Metadata(metadata)) => Ok(metadata),
        Some(Part::Chunk(_)) | None => {
            Err(Invalid::new("metadata", "is missing: send it in the first message").into())
        }
    }
}

/// The file: all messages after the first.
pub async fn file(
    messages: &mut (impl Stream<Item = Result<v1::ImportVersionRequest, Status>> + Unpin),
) -> Result<Vec<u8>, Status> {
    let collected = tokio::time::timeout(LONGEST, collect(messages)).await;
    collected.unwrap_or_else(|_| Err(status::late(format!("the file was not whole after {LONGEST:?}"))))
}

/// A version and then its weights. `held` is let go when the last piece is on its way, or when the
/// caller reads no more.
pub fn export(version: v1::ModelVersion, weights: Vec<u8>, held: OwnedSemaphorePermit) -> ExportStream {
    use export_version_response::Part;
    let chunks = (0..weights.len()).step_by(CHUNK).map(move |start| {
        // Copies: a slice that nobody takes would keep the whole file.
        Part::Chunk(Bytes::copy_from_slice(&weights[start..weights.len().min(start + CHUNK)]))
    });
    let parts = std::iter::once(Part::Version(version)).chain(chunks);
    in_pieces(parts.map(|part| v1::ExportVersionResponse { part: Some(part) }), held)
}

/// Messages one after another, as fast as their caller takes them. `held` as for `export`.
pub fn in_pieces<T: Send + 'static>(
    messages: impl Iterator<Item = T> + Send + 'static,
    held: OwnedSemaphorePermit,
) -> Pieces<T> {
    let (pieces, ready) = mpsc::channel(AHEAD);
    let (cut, was_cut) = oneshot::channel();
    tokio::spawn(async move {
        let _held = held;
        let end = Instant::now() + LONGEST;
        for message in messages {
            let patience = end.min(Instant::now() + SILENCE);
            match timeout_at(patience, pieces.send(Ok(message))).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return,
                Err(_) => {
                    let late = match patience == end {
                        true => format!("the file was not taken whole within {LONGEST:?}"),
                        false => format!("no piece was taken for {SILENCE:?}"),
                    };
                    let _ = cut.send(status::late(late));
                    return;
                }
            }
        }
    });
    // A file that was cut short ends with an error, never as if it were whole.
    let end = stream::once(was_cut).filter_map(async |cut| cut.ok().map(Err));
    ReceiverStream::new(ready).chain(end).boxed()
}

async fn collect(
    messages: &mut (impl Stream<Item = Result<v1::ImportVersionRequest, Status>> + Unpin),
) -> Result<Vec<u8>, Status> {
    let mut file = Vec::new();
    let refused = |message: String| Err(Invalid::new("chunk", message).into());
    for _ in 0..MAX_CHUNKS {
        match next(messages).await? {
            None if file.is_empty() => {
                return refused("is missing: send the file after the metadata".to_owned());
            }
            None => return Ok(file),
            Some(Part::Metadata(_)) => {
                return Err(Invalid::new("metadata", "comes twice: send it in the first message only").into());
            }
            Some(Part::Chunk(chunk)) if chunk.is_empty() => {
                return refused("is empty: end the stream after the last piece".to_owned());
            }
            Some(Part::Chunk(chunk)) if file.len() + chunk.len() > MAX_BYTES => {
                return refused(format!(
                    "makes a file of more than {MAX_BYTES} bytes, which no network needs"
                ));
            }
            Some(Part::Chunk(chunk)) => file.extend_from_slice(&chunk),
        }
    }
    refused(format!("comes more than {MAX_CHUNKS} times: send larger pieces, for instance of 1 MiB"))
}

/// The next message's part; none at the stream's end.
async fn next(
    messages: &mut (impl Stream<Item = Result<v1::ImportVersionRequest, Status>> + Unpin),
) -> Result<Option<Part>, Status> {
    match tokio::time::timeout(SILENCE, messages.next()).await {
        Err(_) => Err(status::late(format!("no message came for {SILENCE:?}"))),
        Ok(None) => Ok(None),
        Ok(Some(message)) => match message?.part {
            Some(part) => Ok(Some(part)),
            None => Err(Invalid::new("chunk", "is missing: a message brings metadata or a piece").into()),
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

    async fn refused(messages: Vec<Result<v1::ImportVersionRequest, Status>>) -> String {
        let status = file(&mut stream::iter(messages)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        status.message().to_owned()
    }

    #[tokio::test]
    async fn a_file_is_its_pieces_in_their_order() {
        let metadata_part = Part::Metadata(v1::ImportMetadata::default());
        let mut messages = stream::iter(vec![message(metadata_part), chunk(b"ab"), chunk(b"c")]);
        metadata(&mut messages).await.unwrap();
        assert_eq!(file(&mut messages).await.unwrap(), b"abc");
    }

    #[tokio::test]
    async fn streams_that_bring_no_file_are_refused() {
        let metadata_part = || Part::Metadata(v1::ImportMetadata::default());
        assert!(metadata(&mut stream::iter(vec![chunk(b"a")])).await.is_err());
        assert!(metadata(&mut stream::iter(vec![])).await.is_err());
        assert!(refused(vec![]).await.contains("is missing"));
        assert!(refused(vec![chunk(b"a"), chunk(b"")]).await.contains("is empty"));
        assert!(refused(vec![message(metadata_part())]).await.contains("comes twice"));
        let nothing = Ok(v1::ImportVersionRequest { part: None });
        assert!(refused(vec![nothing]).await.contains("metadata or a piece"));
        assert!(refused((0..=MAX_CHUNKS).map(|_| chunk(b"a")).collect()).await.contains("larger pieces"));
        let mib = Bytes::from(vec![0; 1 << 20]);
        let endless = (0..100).map(|_| message(Part::Chunk(mib.clone()))).collect();
        assert!(refused(endless).await.contains("which no network needs"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_falls_silent_is_not_waited_for() {
        let mut messages = stream::iter(vec![chunk(b"a")]).chain(stream::pending());
        let status = file(&mut messages).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        let pause = || tokio::time::timeout(SILENCE / 2, std::future::pending::<()>());
        let drip = async |()| Some((pause().await, ()));
        let mut drips = Box::pin(stream::unfold((), drip).map(|_| chunk(b"a")));
        assert_eq!(file(&mut drips).await.unwrap_err().code(), Code::DeadlineExceeded);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_takes_no_more_gets_an_error_in_place_of_the_rest() {
        let transfers = Transfers::new("imports and exports");
        let weights = vec![1; 9 * CHUNK];
        let mut stream = export(v1::ModelVersion::default(), weights, transfers.begin().unwrap());
        stream.next().await.unwrap().unwrap();
        // Time passes by itself where every task waits: until the permit comes back.
        drop(transfers.free.acquire_many(AT_ONCE as u32).await.unwrap());
        let rest: Vec<_> = stream.collect().await;
        assert!(rest.len() < 9);
        assert_eq!(rest.last().unwrap().as_ref().unwrap_err().code(), Code::DeadlineExceeded);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_takes_pieces_without_end_is_cut_off() {
        let transfers = Transfers::new("imports and exports");
        let weights = vec![1; 80 * CHUNK];
        let mut stream = export(v1::ModelVersion::default(), weights, transfers.begin().unwrap());
        let mut taken = 0;
        let end = loop {
            // The clock goes on by itself, less than the silence that is allowed.
            let _ = tokio::time::timeout(SILENCE / 2, std::future::pending::<()>()).await;
            match stream.next().await.expect("it ends with an error") {
                Ok(_) => taken += 1,
                Err(status) => break status,
            }
        };
        assert_eq!(end.code(), Code::DeadlineExceeded);
        assert!(end.message().contains("600s") && taken < 50, "{end} after {taken}");
    }

    #[tokio::test]
    async fn more_files_than_memory_holds_are_refused_until_one_ends() {
        let transfers = Transfers::new("imports and exports");
        let mut held: Vec<_> = (0..AT_ONCE).map(|_| transfers.begin().unwrap()).collect();
        let refused = transfers.begin().unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert_eq!(refused.message(), "too many imports and exports are under way");
        let stream = export(v1::ModelVersion::default(), vec![1; CHUNK + 1], held.remove(0));
        let messages: Vec<_> = stream.collect().await;
        assert_eq!(messages.len(), 3);
        drop(transfers.begin().unwrap());
    }
}
