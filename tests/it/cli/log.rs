//! The log of a server, and a reader of it that stalls.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::Stdio,
    time::Duration,
};

use digitd::pb::digitd::v1::{
    GetVersionRequest, ListRunsRequest, registry_service_client::RegistryServiceClient,
    training_service_client::TrainingServiceClient,
};
use tonic::transport::Endpoint;

use super::program::{digitd, send};

/// More bad calls than the buffer of the log and a pipe have lines.
const BAD_CALLS: usize = 12_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_the_log_that_stalls_delays_neither_calls_nor_the_end() {
    let store = tempfile::tempdir().unwrap();
    let mut command = digitd();
    command.args(["serve", "--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--fetch", "never"]);
    command.args(["--threads", "1", "--workers", "1", "--store", store.path().to_str().unwrap()]);
    let mut server = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Nobody reads this until the server has ended.
    let mut log = server.stderr.take().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let addr = |name: &str| line.split([' ', '\n']).find_map(|word| word.strip_prefix(name)).unwrap();
    let (grpc, http) = (format!("http://{}", addr("grpc=")), format!("http://{}", addr("http=")));

    let channel = Endpoint::from_shared(grpc).unwrap().connect().await.unwrap();
    let mut registry = RegistryServiceClient::new(channel.clone());
    for _ in 0..BAD_CALLS {
        let request = GetVersionRequest { name: "no name".to_owned(), ..GetVersionRequest::default() };
        registry.get_version(request).await.unwrap_err();
    }
    TrainingServiceClient::new(channel).list_runs(ListRunsRequest::default()).await.unwrap();
    let page = |path: &str| {
        let url = format!("{http}{path}");
        tokio::task::spawn_blocking(move || {
            ureq::get(url).call().unwrap().body_mut().read_to_string().unwrap()
        })
    };
    assert_eq!(page("/livez").await.unwrap(), "alive\n");
    let metrics = page("/metrics").await.unwrap();
    let dropped = metrics.lines().find_map(|line| line.strip_prefix("digitd_log_dropped_lines_total "));
    assert!(dropped.unwrap().parse::<u64>().unwrap() > 0, "every line was buffered");

    drop(registry);
    send(&server, "TERM");
    let ended = tokio::task::spawn_blocking(move || server.wait().unwrap());
    let ended = tokio::time::timeout(Duration::from_secs(60), ended).await.expect("the server ends").unwrap();
    assert_eq!(ended.code(), Some(0));
    let mut text = String::new();
    log.read_to_string(&mut text).unwrap();
    assert!(text.contains("call ended"), "{text}");
}
