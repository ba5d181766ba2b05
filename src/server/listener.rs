//! Accepts connections: no more at once than the server has files for, and none that stays without a request. A
//! connection whose peer is silent, or vanished before it said anything, ends by itself, or as soon as another one
//! needs its place.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::{Stream, stream, task::AtomicWaker};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep, timeout},
};
use tonic::transport::server::Connected;

/// Longest time until the first byte of a connection.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest time until the headers of the first request of a connection are complete. A client that opens connections
/// before it needs them opens another one.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The pause after the system refused a connection, for instance for want of files; nothing is accepted meanwhile.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// Longest wait for the permit of a connection that was evicted.
const EVICTION_TIMEOUT: Duration = Duration::from_millis(100);

/// Shortest time between two warnings of the same listener.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// A bound port, with a limit on its connections.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    addr: SocketAddr,
    /// One permit for each connection that may be open.
    free: Arc<Semaphore>,
    max_connections: usize,
    /// The connections that had no request when they were last looked at, the oldest first.
    silent: VecDeque<Weak<State>>,
    warned: Option<Instant>,
}

impl Listener {
    /// Binds a port; port 0 means any free one.
    pub async fn bind(addr: SocketAddr, max_connections: usize) -> io::Result<Self> {
        let tcp = TcpListener::bind(addr).await?;
        let addr = tcp.local_addr()?;
        let max_connections = max_connections.clamp(1, Semaphore::MAX_PERMITS);
        let free = Arc::new(Semaphore::new(max_connections));
        Ok(Self { tcp, addr, free, max_connections, silent: VecDeque::new(), warned: None })
    }

    /// The address with the actual port.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Every connection that is accepted. The stream does not end.
    pub fn connections(self) -> impl Stream<Item = io::Result<Connection>> {
        stream::unfold(self, async |mut listener| Some((Ok(listener.next().await), listener)))
    }

    /// The next connection. One above the limit takes the place of the oldest that has had no request yet. Where
    /// every connection has had one, it is closed at once, so that its peer tries elsewhere or later.
    async fn next(&mut self) -> Connection {
        loop {
            let socket = match self.tcp.accept().await {
                Ok((socket, _)) => socket,
                // The peer left before the connection was accepted.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => {
                    self.warn(|addr| {
                        tracing::warn!(
                            %addr, %error,
                            "a connection could not be accepted: raise the limit of open files if it persists"
                        );
                    });
                    sleep(REFUSED_PAUSE).await;
                    continue;
                }
            };
            let Some(permit) = self.admit().await else {
                let max_connections = self.max_connections;
                self.warn(|addr| {
                    tracing::warn!(%addr, max_connections, "connections above the limit are closed at once");
                });
                continue;
            };
            // A connection without this option works, with more delay.
            let _ = socket.set_nodelay(true);
            let connection = Connection::new(socket, permit);
            self.silent.push_back(Arc::downgrade(&connection.info.state));
            return connection;
        }
    }

    /// A place for a connection.
    async fn admit(&mut self) -> Option<OwnedSemaphorePermit> {
        // Those that have had a request since, or have ended, need not be looked at again.
        while self.silent.front().is_some_and(|state| !is_silent(state)) {
            self.silent.pop_front();
        }
        if let Ok(permit) = self.free.clone().try_acquire_owned() {
            return Some(permit);
        }
        while let Some(state) = self.silent.pop_front() {
            let Some(state) = state.upgrade().filter(|state| !state.has_request()) else { continue };
            state.evict();
            return timeout(EVICTION_TIMEOUT, self.free.clone().acquire_owned()).await.ok()?.ok();
        }
        None
    }

    /// Warns, unless it warned a moment ago.
    fn warn(&mut self, warning: impl FnOnce(SocketAddr)) {
        if self.warned.is_none_or(|at| at.elapsed() >= WARNING_INTERVAL) {
            self.warned = Some(Instant::now());
            warning(self.addr);
        }
    }
}

impl axum::serve::Listener for Listener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let connection = self.next().await;
        let peer = connection.info.peer.unwrap_or(self.addr);
        (connection, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }
}

fn is_silent(state: &Weak<State>) -> bool {
    state.upgrade().is_some_and(|state| !state.has_request())
}

/// The state that a connection shares with its requests and its listener.
#[derive(Debug, Default)]
struct State {
    has_request: AtomicBool,
    is_evicted: AtomicBool,
    /// Wakes the task that reads the connection.
    reader: AtomicWaker,
}

impl State {
    // Relaxed orders are enough: a note that is seen late costs one more look at the timer, and the waker orders the
    // eviction.
    fn has_request(&self) -> bool {
        self.has_request.load(Ordering::Relaxed)
    }

    fn evict(&self) {
        self.is_evicted.store(true, Ordering::Relaxed);
        self.reader.wake();
    }
}

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    socket: TcpStream,
    info: ConnectionInfo,
    /// Ends the connection unless a request comes first; `None` once one has come.
    timeout: Option<Pin<Box<Sleep>>>,
    has_read: bool,
    _permit: OwnedSemaphorePermit,
}

/// The information that every request of a connection carries.
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    /// The address of the caller.
    pub peer: Option<SocketAddr>,
    state: Arc<State>,
}

/// The address of the caller of a request.
pub fn peer<T>(request: &tonic::Request<T>) -> Option<SocketAddr> {
    request.extensions().get::<ConnectionInfo>()?.peer
}

impl ConnectionInfo {
    /// Notes that the connection has had a request. Its layer calls this for every request.
    pub fn note_request(&self) {
        if !self.state.has_request() {
            self.state.has_request.store(true, Ordering::Relaxed);
        }
    }
}

impl Connection {
    fn new(socket: TcpStream, permit: OwnedSemaphorePermit) -> Self {
        let info = ConnectionInfo { peer: socket.peer_addr().ok(), state: Arc::default() };
        let timeout = Some(Box::pin(sleep(FIRST_BYTE_TIMEOUT)));
        Self { socket, info, timeout, has_read: false, _permit: permit }
    }

    /// Whether the connection has to end because it has had no request.
    fn is_overdue(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(timeout) = &mut self.timeout else { return false };
        if self.info.state.has_request() {
            self.timeout = None;
            return false;
        }
        self.info.state.reader.register(cx.waker());
        self.info.state.is_evicted.load(Ordering::Relaxed) || timeout.as_mut().poll(cx).is_ready()
    }
}

impl Connected for Connection {
    type ConnectInfo = ConnectionInfo;

    fn connect_info(&self) -> ConnectionInfo {
        self.info.clone()
    }
}

impl axum::extract::connect_info::Connected<axum::serve::IncomingStream<'_, Listener>> for ConnectionInfo {
    fn connect_info(stream: axum::serve::IncomingStream<'_, Listener>) -> Self {
        stream.io().info.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.is_overdue(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let read = Pin::new(&mut this.socket).poll_read(cx, buf);
        if !this.has_read && read.is_ready() {
            this.has_read = true;
            this.timeout = Some(Box::pin(sleep(FIRST_REQUEST_TIMEOUT)));
            // The new timer has to know whom to wake.
            let _ = this.is_overdue(cx);
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn listener(max_connections: usize) -> Listener {
        Listener::bind(([127, 0, 0, 1], 0).into(), max_connections).await.unwrap()
    }

    /// Both ends of a new connection.
    async fn connect(listener: &mut Listener) -> (TcpStream, Connection) {
        let peer = TcpStream::connect(listener.addr()).await.unwrap();
        (peer, listener.next().await)
    }

    /// Reads until the connection ends.
    async fn end(mut connection: Connection) -> io::Result<usize> {
        connection.read_to_end(&mut Vec::new()).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_request_ends() {
        let mut listener = listener(10).await;
        let (_silent, connection) = connect(&mut listener).await;
        assert_eq!(end(connection).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let (mut slow, connection) = connect(&mut listener).await;
        slow.write_all(b"PRI * HTTP/2.0").await.unwrap();
        assert_eq!(end(connection).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(listener.free.available_permits(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_has_had_a_request_may_be_idle() {
        let mut listener = listener(1).await;
        let (_idle, connection) = connect(&mut listener).await;
        connection.info.note_request();
        assert!(timeout(Duration::from_secs(3600), end(connection)).await.is_err(), "it is open");
    }

    #[tokio::test]
    async fn a_silent_connection_gives_its_place_to_another() {
        let mut listener = listener(2).await;
        let (_served, served) = connect(&mut listener).await;
        served.info.note_request();
        let (_silent, silent) = connect(&mut listener).await;
        let silent = tokio::spawn(end(silent));
        let (_peer, connection) = connect(&mut listener).await;
        assert_eq!(silent.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
        connection.info.note_request();
        assert!(listener.admit().await.is_none(), "both connections have had a request");
        drop(served);
        assert!(listener.admit().await.is_some());
    }
}
