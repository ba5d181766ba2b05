//! A real S3 server for tests: MinIO on a port and a folder of its own, one for each test program, which ends
//! with the program. The tests in `tests/it` include this file too.

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.tools/bin/minio");

/// The one bucket; tests use prefixes of their own in it.
const BUCKET: &str = "digitd-tests";

/// The credentials of the server.
const KEY: &str = "digitd";
const SECRET: &str = "a-secret-of-tests";

/// Stops MinIO and removes its folder when the other end of standard input is closed, however this program
/// ends. The script closes its own standard error, so that the output of MinIO ends with MinIO.
const KEEPER: &str = "\"$@\" & exec 2>&-; read -r _; kill $!; wait $!; rm -rf \"$MINIO_TEST_FOLDER\"";

/// The number of attempts to find a port: a port that is free when it is chosen may be taken when MinIO binds
/// it.
const TRIES: usize = 5;

/// A running server.
pub struct Minio {
    endpoint: String,
    _keeper: Child,
}

impl Minio {
    /// The server of this program, or an error message that says what to do if MinIO is not installed.
    pub fn shared() -> Result<&'static Self, String> {
        static SERVER: OnceLock<Result<Minio, String>> = OnceLock::new();
        let server = SERVER.get_or_init(|| {
            if !Path::new(PROGRAM).exists() {
                return Err("MinIO is not in .tools/bin: `make setup` installs it where Go is".to_owned());
            }
            Ok((0..TRIES).find_map(|_| Self::start()).expect("MinIO starts on some port"))
        });
        server.as_ref().map_err(Clone::clone)
    }

    /// A prefix in the bucket that was not used before.
    pub fn location(&self) -> String {
        format!("s3://{BUCKET}/{}", uuid::Uuid::now_v7())
    }

    /// The environment variables for the server.
    pub fn variables(&self) -> Vec<(String, String)> {
        let variables = [
            ("AWS_ENDPOINT_URL", &*self.endpoint),
            ("AWS_ACCESS_KEY_ID", KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
        ];
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    fn start() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a test has a folder for its files").keep();
        // A folder at the top level is a bucket.
        std::fs::create_dir(folder.join(BUCKET)).expect("the folder is new");
        let addr = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let addr = addr.expect("some port is free");
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "sh", PROGRAM, "server", "--address", &addr.to_string()])
            .args(["--console-address", "127.0.0.1:0"])
            .arg(&folder)
            .envs([("MINIO_ROOT_USER", KEY), ("MINIO_ROOT_PASSWORD", SECRET), ("MINIO_BROWSER", "off")])
            .env("MINIO_TEST_FOLDER", &folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("every system has sh");
        let mut lines = BufReader::new(keeper.stderr.take().expect("it is piped")).lines();
        // It prints its address when it is ready; it ends without that if the port is taken.
        if !lines.by_ref().map_while(Result::ok).any(|line| line.starts_with("API:")) {
            keeper.wait().expect("it was not waited for");
            return None;
        }
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { endpoint: format!("http://{addr}"), _keeper: keeper })
    }
}
