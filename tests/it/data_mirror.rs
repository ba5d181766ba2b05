//! A mirror on this machine that responds to each request as its script says.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
};

/// The response to one request.
pub enum Answer {
    /// 200 with these bytes, or 206 with the rest of them if a range is requested.
    Whole(Vec<u8>),
    /// Like `Whole`, but the connection stalls after this many bytes.
    BreaksOff(Vec<u8>, usize),
    /// 200 with all bytes, whatever range is requested.
    IgnoresRange(Vec<u8>),
    /// 200 with this content length and these bytes.
    Promises(usize, Vec<u8>),
    /// 200 without a content length, which continues as long as the client reads.
    Endless,
    /// 206 with another range than the requested one.
    WrongRange(Vec<u8>),
    /// A status without a body.
    Status(&'static str),
}

/// A server that gives each request the next response of its script.
pub struct Mirror {
    pub address: String,
    port: SocketAddr,
    requests: mpsc::Receiver<String>,
    finished: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Mirror {
    pub fn start(script: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap();
        let (sender, requests) = mpsc::channel();
        let finished = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&finished);
        let thread = thread::spawn(move || {
            for scripted in script {
                let (stream, _) = listener.accept().unwrap();
                if stopping.load(Ordering::SeqCst) {
                    return;
                }
                let request = read_request(&stream);
                sender.send(request.clone()).unwrap();
                // The client may close the connection at any time, which some tests are about.
                let _ = reply(stream, &request, scripted);
            }
        });
        Self { address: format!("http://{port}/mnist/"), port, requests, finished, thread }
    }

    /// The path and the requested range of each request.
    pub fn finish(self) -> Vec<String> {
        self.finished.store(true, Ordering::SeqCst);
        // Wakes a server that still waits for requests of its script; connecting fails if it has ended.
        let _ = TcpStream::connect(self.port);
        self.thread.join().unwrap();
        self.requests.iter().map(|request| summary(&request)).collect()
    }
}

fn read_request(stream: &TcpStream) -> String {
    let lines = BufReader::new(stream).lines().map(Result::unwrap);
    lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

fn range_of(request: &str) -> Option<&str> {
    request.lines().find_map(|line| line.strip_prefix("range: bytes=").or(line.strip_prefix("Range: bytes=")))
}

fn summary(request: &str) -> String {
    let path = request.split(' ').nth(1).unwrap();
    [Some(path), range_of(request)].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn reply(mut stream: TcpStream, request: &str, scripted: Answer) -> std::io::Result<()> {
    let start = range_of(request).map(|range| range.trim_end_matches('-').parse::<usize>().unwrap());
    match scripted {
        Answer::Whole(bytes) => {
            let end = bytes.len();
            send(stream, &bytes, start, end)
        }
        Answer::BreaksOff(bytes, after) => send(stream, &bytes, start, start.unwrap_or(0) + after),
        Answer::IgnoresRange(bytes) => {
            let end = bytes.len();
            send(stream, &bytes, None, end)
        }
        Answer::Promises(length, bytes) => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
            stream.write_all(&bytes)
        }
        Answer::Endless => {
            write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            loop {
                stream.write_all(&[b'x'; 4096])?;
            }
        }
        Answer::WrongRange(bytes) => {
            write!(
                stream,
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-{}/{}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                bytes.len() - 1,
                bytes.len(),
                bytes.len()
            )?;
            stream.write_all(&bytes)
        }
        Answer::Status(status) => {
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        }
    }
}

/// Promises everything from `start`; sends what lies before `end`.
fn send(mut stream: TcpStream, bytes: &[u8], start: Option<usize>, end: usize) -> std::io::Result<()> {
    let from = start.unwrap_or(0);
    let status = match start {
        None => "200 OK".to_owned(),
        Some(_) if from >= bytes.len() => "416 Range Not Satisfiable".to_owned(),
        Some(_) => {
            format!("206 Partial Content\r\nContent-Range: bytes {from}-{}/{}", bytes.len() - 1, bytes.len())
        }
    };
    let rest = &bytes[from.min(bytes.len())..];
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", rest.len())?;
    stream.write_all(&rest[..(end - from.min(end)).min(rest.len())])
}
