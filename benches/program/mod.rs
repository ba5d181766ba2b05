//! The program as benches start it: a server in a process of its own, its resources, and its callers.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use tonic::transport::Channel;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

/// A server that stops when this value is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    url: String,
}

pub fn digitd(store: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_digitd"));
    command.env("DIGITD_STORE_URL", store);
    command
}

/// Trains a version to serve, whose accuracy does not matter. `flags` are further flags of `digitd train`.
#[allow(dead_code, reason = "one bench trains in its own way")]
pub fn train(store: &Path, flags: &[&str]) {
    let small = ["--dataset=synthetic", "--max-train-images=1000", "--validation-count=100", "--epochs=1"];
    let trained =
        digitd(store).args(["train", "--in-process"]).args(small).args(flags).stdout(Stdio::null()).status();
    assert!(trained.expect("digitd starts").success());
}

impl Server {
    pub fn start(mut digitd: Command, flags: &[&str]) -> Self {
        let always = ["--grpc-addr", "127.0.0.1:0", "--http-addr", "off", "--log-level", "warn"];
        let command = digitd.arg("serve").args(always).args(flags);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("digitd starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut line).expect("a first line");
        let addr = line.split_once("grpc=").and_then(|(_, rest)| rest.split(' ').next());
        let url = format!("http://{}", addr.expect("the first line names the address"));
        Self { child, url }
    }

    /// A new connection, made when the server can predict.
    pub async fn connect(&self) -> Channel {
        let channel = Channel::from_shared(self.url.clone()).expect("an address");
        let channel = channel.connect().await.expect("the server listens");
        let request = HealthCheckRequest { service: String::new() };
        let watch = HealthClient::new(channel.clone()).watch(request).await;
        let mut watch = watch.expect("health answers").into_inner();
        while let Some(health) = watch.message().await.expect("health answers") {
            if health.status() == ServingStatus::Serving {
                break;
            }
        }
        channel
    }

    /// The processor time that the process has used so far, in user and system mode.
    #[allow(dead_code, reason = "not every bench asks")]
    pub fn cpu_seconds(&self) -> f64 {
        /// The unit in which Linux reports it to programs, whatever it uses internally.
        const TICKS_PER_SECOND: f64 = 100.0;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it is alive");
        // The second field is the program's name; user and system time are the 14th and 15th.
        let (_, fields) = stat.rsplit_once(") ").expect("the name is in brackets");
        let ticks = fields.split(' ').skip(11).take(2);
        ticks.map(|ticks| ticks.parse::<f64>().expect("a number of ticks") / TICKS_PER_SECOND).sum()
    }

    /// VmRSS of the process in megabytes.
    #[allow(dead_code, reason = "not every bench asks")]
    pub fn resident_mb(&self) -> f64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("it is alive");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells VmRSS");
        let kilobytes = line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number of kB");
        kilobytes / 1000.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A process that has ended already needs no signal.
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}
