//! The served program from outside: time from its start until health says SERVING with a model
//! loaded, its resident memory while it predicts, and pictures a second by each protocol, in turn.
//! JSON lines.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use digitd::pb::{
    digitd::v1::{PredictRequest, prediction_service_client::PredictionServiceClient},
    inference::{
        ModelInferRequest, grpc_inference_service_client::GrpcInferenceServiceClient,
        model_infer_request::InferInputTensor,
    },
};
use tonic::transport::Channel;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

const STARTS: usize = 7;
const CALLS: usize = 2000;

/// Callers at once, each with one picture a call, and how often and how long they are counted.
const CALLERS: usize = 64;
const ROUNDS: usize = 21;
const ROUND: Duration = Duration::from_millis(700);

/// Linux counts so for programs, whatever it does inside.
const TICKS_PER_SECOND: f64 = 100.0;

/// How a picture is asked about.
#[derive(Debug, Clone, Copy)]
enum Protocol {
    Native,
    InferenceUint8,
    InferenceFp32,
}

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
    rates(store.path()).await;
}

/// Every protocol in every round, so that what else the machine does weighs on all alike.
#[allow(clippy::print_stdout, reason = "figures are what a bench is for")]
async fn rates(store: &Path) {
    let (mut child, addr) = serve(store);
    let channel = Channel::from_shared(format!("http://{addr}")).expect("an address");
    let channel = channel.connect().await.expect("the server listens");
    until_serving(channel.clone()).await;
    predict(channel.clone()).await;
    let mut protocols = [Protocol::Native, Protocol::InferenceUint8, Protocol::InferenceFp32]
        .map(|protocol| (protocol, Vec::new(), 0.0));
    for _ in 0..ROUNDS {
        for (protocol, rates, cpu) in &mut protocols {
            let before = cpu_seconds(&child);
            let (asked, seconds) = ask_for_a_round(&channel, *protocol).await;
            rates.push(asked / seconds);
            *cpu += (cpu_seconds(&child) - before) / asked;
        }
    }
    for (protocol, mut rates, cpu) in protocols {
        rates.sort_by(f64::total_cmp);
        println!(
            "{{\"what\": \"rate\", \"variant\": \"{protocol:?}\", \"callers\": {CALLERS}, \"images_s\": {:.0}, \
             \"worst\": {:.0}, \"best\": {:.0}, \"server_cpu_us\": {:.1}, \"reps\": {ROUNDS}}}",
            rates[ROUNDS / 2],
            rates[0],
            rates[ROUNDS - 1],
            cpu / ROUNDS as f64 * 1e6,
        );
    }
    child.kill().and_then(|()| child.wait()).expect("the server was alive");
}

/// Pictures of callers that each ask again as soon as they are answered, and the seconds that took.
async fn ask_for_a_round(channel: &Channel, protocol: Protocol) -> (f64, f64) {
    let began = Instant::now();
    let callers = (0..CALLERS).map(|_| {
        let channel = channel.clone();
        tokio::spawn(async move {
            let mut asked = 0;
            while began.elapsed() < ROUND {
                ask(channel.clone(), protocol).await;
                asked += 1;
            }
            asked
        })
    });
    let asked: u32 = futures::future::join_all(callers)
        .await
        .into_iter()
        .map(|asked| asked.expect("no caller panics"))
        .sum();
    (f64::from(asked), began.elapsed().as_secs_f64())
}

async fn ask(channel: Channel, protocol: Protocol) {
    let (datatype, bytes) = match protocol {
        Protocol::Native => {
            let request = PredictRequest { pixel_batch: vec![0; 784].into(), ..PredictRequest::default() };
            let answer = PredictionServiceClient::new(channel).predict(request).await;
            answer.expect("a version is served");
            return;
        }
        Protocol::InferenceUint8 => ("UINT8", 784),
        Protocol::InferenceFp32 => ("FP32", 784 * size_of::<f32>()),
    };
    let input = InferInputTensor {
        name: "input".to_owned(),
        datatype: datatype.to_owned(),
        shape: vec![1, 1, 28, 28],
        ..InferInputTensor::default()
    };
    let request = ModelInferRequest {
        model_name: "digits".to_owned(),
        inputs: vec![input],
        raw_input_contents: vec![vec![0; bytes].into()],
        ..ModelInferRequest::default()
    };
    GrpcInferenceServiceClient::new(channel).model_infer(request).await.expect("a version is served");
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

/// What a process has computed so far, in and for it.
fn cpu_seconds(child: &Child) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("it is alive");
    // The second field is the program's name; user and system time are the 14th and 15th.
    let (_, fields) = stat.rsplit_once(") ").expect("the name is in brackets");
    let ticks = fields.split(' ').skip(11).take(2);
    ticks.map(|ticks| ticks.parse::<f64>().expect("a number of ticks") / TICKS_PER_SECOND).sum()
}

/// VmRSS of a process.
fn resident_kilobytes(child: &Child) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it is alive");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells VmRSS");
    line.trim().trim_end_matches(" kB").parse().expect("a number of kB")
}
