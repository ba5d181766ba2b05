//! The served program from outside: time from its start until health says SERVING with a model
//! loaded, and its resident memory while it predicts. JSON lines.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Instant,
};

use digitd::pb::digitd::v1::{PredictRequest, prediction_service_client::PredictionServiceClient};
use tonic::transport::Channel;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

const STARTS: usize = 7;
const CALLS: usize = 2000;

#[tokio::main]
#[allow(clippy::print_stdout, reason = "figures are what a bench is for")]
async fn main() {
    let store = tempfile::tempdir().expect("a folder for the store");
    train(store.path());
    let mut starts = Vec::new();
    let mut memory = 0;
    for _ in 0..STARTS {
        let began = Instant::now();
        let (mut child, addr) = serve(store.path());
        let channel = Channel::from_shared(format!("http://{addr}")).expect("an address");
        let channel = channel.connect().await.expect("the server listens");
        until_serving(channel.clone()).await;
        starts.push(began.elapsed().as_secs_f64());
        predict(channel).await;
        memory = resident_kilobytes(&child);
        child.kill().and_then(|()| child.wait()).expect("the server was alive");
    }
    starts.sort_by(f64::total_cmp);
    println!(
        "{{\"what\": \"start\", \"variant\": \"digitd\", \"serving_s\": {:.3}, \"worst_s\": {:.3}, \"reps\": {STARTS}}}",
        starts[STARTS / 2],
        starts[STARTS - 1],
    );
    println!(
        "{{\"what\": \"memory\", \"variant\": \"digitd\", \"resident_mb\": {:.1}, \"calls\": {CALLS}}}",
        f64::from(memory) / 1000.0,
    );
}

fn digitd(store: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_digitd"));
    command.env("DIGITD_STORE_URL", store);
    command
}

/// A version to serve; how good it is does not matter here.
fn train(store: &Path) {
    let small = ["--dataset=synthetic", "--max-train-images=1000", "--validation-count=100", "--epochs=1"];
    let trained = digitd(store).args(["train", "--in-process"]).args(small).stdout(Stdio::null()).status();
    assert!(trained.expect("digitd starts").success());
}

fn serve(store: &Path) -> (Child, String) {
    let mut command = digitd(store);
    command.args(["serve", "--grpc-addr", "127.0.0.1:0", "--http-addr", "off", "--log-level", "warn"]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("digitd starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line).expect("a first line");
    let addr = line.split_once("grpc=").and_then(|(_, rest)| rest.split(' ').next());
    (child, addr.expect("the first line names the address").to_owned())
}

async fn until_serving(channel: Channel) {
    let request = HealthCheckRequest { service: String::new() };
    let mut watch = HealthClient::new(channel).watch(request).await.expect("health answers").into_inner();
    while let Some(answer) = watch.message().await.expect("health answers") {
        if answer.status() == ServingStatus::Serving {
            return;
        }
    }
}

async fn predict(channel: Channel) {
    let mut client = PredictionServiceClient::new(channel);
    for _ in 0..CALLS {
        let request = PredictRequest { pixel_batch: vec![0; 784].into(), ..PredictRequest::default() };
        client.predict(request).await.expect("a version is served");
    }
}

/// VmRSS of a process.
fn resident_kilobytes(child: &Child) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it is alive");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells VmRSS");
    line.trim().trim_end_matches(" kB").parse().expect("a number of kB")
}
