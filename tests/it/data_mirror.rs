//! A mirror on this machine that answers each request as its script says, for good or for ill.

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

/// How one request is answered.
pub enum Answer {
    /// 200 with these bytes, or 206 with the rest of them where a range is asked for.
    Whole(Vec<u8>),
    /// As `Whole`, but the line goes dead after so many bytes.
    BreaksOff(Vec<u8>, usize),
    /// 200 with all bytes, whatever range is asked for.
    IgnoresRange(Vec<u8>),
    /// 200 that promises so many bytes and sends these.
    Promises(usize, Vec<u8>),
    /// 200 of no stated length that goes on for as long as anyone listens.
    Endless,
    /// 206 of another part than the one asked for.
    WrongRange(Vec<u8>),
    /// A status and nothing else.
    Status(&'static str),
}

/// A server that gives each request the next answer of its script.
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
        let seen = Arc::clone(&finished);
        let thread = thread::spawn(move || {
            for answer in script {
                let (stream, _) = listener.accept().unwrap();
                if seen.load(Ordering::SeqCst) {
                    return;
                }
                let request = read_request(&stream);
                sender.send(request.clone()).unwrap();
                // The other side may hang up at any time: that is what some tests are about.
                let _ = reply(stream, &request, answer);
            }
        });
        Self { address: format!("http://{port}/mnist/"), port, requests, finished, thread }
    }

    /// For each request that came: its path and the range it asked for.
    pub fn finish(self) -> Vec<String> {
        self.finished.store(true, Ordering::SeqCst);
        // Wakes a server that still waits for the rest of its script; one that does not is gone.
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

fn reply(mut stream: TcpStream, request: &str, answer: Answer) -> std::io::Result<()> {
    let start = range_of(request).map(|range| range.trim_end_matches('-').parse::<usize>().unwrap());
    match answer {
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

/// All from `start` is promised; what lies before `end` is sent.
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
