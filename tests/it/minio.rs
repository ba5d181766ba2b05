//! A real S3 server of the tests' own: MinIO on a port and a folder of its own, one for each test
//! program; it ends with that. The registry's own tests share this file.

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.tools/bin/minio");

/// The one bucket; tests keep to prefixes of their own in it.
const BUCKET: &str = "digitd-tests";

/// What the server takes for its owner.
const KEY: &str = "digitd";
const SECRET: &str = "a-secret-of-tests";

/// Ends MinIO and removes its folder when nobody holds the other end of standard input any more, however
/// this program ends. What MinIO says ends with MinIO.
const KEEPER: &str = "\"$@\" & exec 2>&-; read -r _; kill $!; wait $!; rm -rf \"$MINIO_TEST_FOLDER\"";

/// Tries to take a port: it is free when it is looked for, and may be taken by when MinIO takes it.
const TRIES: usize = 5;

/// A running server.
pub struct Minio {
    endpoint: String,
    _keeper: Child,
}

impl Minio {
    /// The server of this program. None where it is not installed; the message says what to do.
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

    /// A place in the bucket that nobody used before.
    pub fn place(&self) -> String {
        format!("s3://{BUCKET}/{}", uuid::Uuid::now_v7())
    }

    /// The variables under which the server is reached.
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
        // A folder there is a bucket.
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
        // It tells its address when it answers there; where the port is taken it ends without that.
        if !lines.by_ref().map_while(Result::ok).any(|line| line.starts_with("API:")) {
            keeper.wait().expect("it was not waited for");
            return None;
        }
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { endpoint: format!("http://{addr}"), _keeper: keeper })
    }
}
