//! Starts `digitd`, and reads its output.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, ExitStatus, Stdio},
};

use tempfile::TempDir;

/// The program in a clean environment: without settings from outside, colour or a terminal.
pub fn digitd() -> Command {
    plain(env!("CARGO_BIN_EXE_digitd"))
}

/// Any program in that environment.
fn plain(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("DIGITD_")) {
        command.env_remove(name);
    }
    // Tests run in parallel, so each program limits libtorch to one thread.
    command.env("NO_COLOR", "1").env("OMP_NUM_THREADS", "1").env_remove("COLUMNS").stdin(Stdio::null());
    command
}

/// The output of a program, and its exit code.
pub struct ProgramOutput {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl ProgramOutput {
    /// The standard output of a program that succeeded.
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        self.stdout
    }

    /// The standard error of a program that failed.
    pub fn error(self) -> String {
        assert_eq!(self.code, Some(1), "{}\n{}", self.stdout, self.stderr);
        self.stderr
    }

    pub fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.ok()).unwrap()
    }

    pub fn json_lines(self) -> Vec<serde_json::Value> {
        self.ok().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Runs the program to its end.
pub fn run(args: &[&str]) -> ProgramOutput {
    finish(digitd().args(args))
}

pub fn finish(command: &mut Command) -> ProgramOutput {
    let done = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    ProgramOutput { code: done.status.code(), stdout: text(done.stdout), stderr: text(done.stderr) }
}

/// Runs the program to its end with `input` on its standard input.
pub fn feed(command: &mut Command, input: &[u8]) -> ProgramOutput {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A program that has read enough may have closed its standard input.
    let _ = child.stdin.take().unwrap().write_all(input);
    let done = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    ProgramOutput { code: done.status.code(), stdout: text(done.stdout), stderr: text(done.stderr) }
}

/// A run of a moment.
pub const SMALL_RUN: &[&str] = &[
    "train",
    "--dataset=synthetic",
    "--max-train-images=300",
    "--validation-count=100",
    "--epochs=1",
    "--batch-size=50",
];

/// `digitd serve` on a free port and a store of its own; it ends when the value is dropped.
pub struct Server {
    child: Child,
    pub url: String,
    /// Keeps the store alive as long as the server may use it.
    kept: Option<TempDir>,
}

impl Server {
    pub fn start() -> Self {
        let store = tempfile::tempdir().unwrap();
        let mut server = Self::at(store.path().to_str().unwrap(), &[]);
        server.kept = Some(store);
        server
    }

    /// Starts a server on a store that is shared, with these environment variables.
    pub fn at(store: &str, variables: &[(String, String)]) -> Self {
        let mut command = digitd();
        command.args(["serve", "--grpc-addr", "127.0.0.1:0", "--http-addr", "off", "--fetch", "never"]);
        command.args(["--log-level", "warn", "--threads", "1", "--workers", "1"]);
        command.args(["--store", store]).envs(variables.iter().cloned());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addr = line.strip_prefix("digitd listening grpc=").and_then(|rest| rest.split(' ').next());
        let addr = addr.unwrap_or_else(|| panic!("the server printed {line:?}"));
        assert!(line.ends_with(" http=off\n"), "{line}");
        Self { url: format!("http://{addr}"), child, kept: None }
    }

    /// A command that talks to this server.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.wrap(env!("CARGO_BIN_EXE_digitd"));
        command.args(args);
        command
    }

    /// A program whose digitd commands talk to this server.
    pub fn wrap(&self, program: &str) -> Command {
        let mut command = plain(program);
        command.env("DIGITD_CLIENT_SERVER", &self.url);
        command
    }

    /// Runs a command to its end.
    pub fn call(&self, args: &[&str]) -> ProgramOutput {
        finish(&mut self.command(args))
    }

    /// The same with `input` on its standard input.
    pub fn feed(&self, args: &[&str], input: &[u8]) -> ProgramOutput {
        feed(&mut self.command(args), input)
    }

    /// Sends a signal to the server.
    pub fn send(&self, signal: &str) {
        send(&self.child, signal);
    }

    /// Sends a signal to the server, and waits until it ends.
    pub fn end(mut self, signal: &str) -> ExitStatus {
        send(&self.child, signal);
        self.child.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a child that has not been waited for, by the signal's name without SIG.
pub fn send(child: &Child, signal: &str) {
    let sent = Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).status().unwrap();
    assert!(sent.success());
}
