//! `kill -9` at chosen moments of a run: the program itself is started, killed and started again on the same
//! store. Moments are events that the caller received, never times.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use bytes::Bytes;
use digitd::pb::digitd::v1::{
    self, prediction_service_client::PredictionServiceClient, registry_service_client::RegistryServiceClient,
    train_event::Event, training_service_client::TrainingServiceClient,
};
use tonic::transport::Channel;

use super::{
    resume::{forty, resume, story},
    server::{
        channel, check_sequence, collect, endless, finished, run_id, tiny, unseen_images, until, watch,
    },
};

/// The program as a server; it is killed when it is dropped.
struct Program {
    child: Child,
    channel: Channel,
}

impl Program {
    fn start(store: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_digitd"))
            .args(["serve", "--grpc-addr", "127.0.0.1:0", "--http-addr", "off", "--device", "cpu"])
            .args(["--threads", "1", "--workers", "1", "--fetch", "never", "--store"])
            .arg(store)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addr = line.split_whitespace().find_map(|word| word.strip_prefix("grpc="));
        let addr: SocketAddr = addr.unwrap_or_else(|| panic!("no address in {line:?}")).parse().unwrap();
        Self { child, channel: channel(addr) }
    }

    fn training(&self) -> TrainingServiceClient<Channel> {
        TrainingServiceClient::new(self.channel.clone())
    }

    /// Sends SIGKILL: the program cannot clean up.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM, and waits until the program ends.
    fn terminate(mut self) {
        let sent = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status().unwrap();
        assert!(sent.success());
        assert!(self.child.wait().unwrap().success());
    }

    async fn run(&self, run_id: &str) -> v1::Run {
        let request = v1::GetRunRequest { run_id: run_id.to_owned() };
        self.training().get_run(request).await.unwrap().into_inner().run.unwrap()
    }

    async fn versions(&self) -> Vec<v1::ModelVersion> {
        let mut registry = RegistryServiceClient::new(self.channel.clone());
        registry.list_versions(v1::ListVersionsRequest::default()).await.unwrap().into_inner().versions
    }

    /// Checks that every listed version can be loaded and predicts.
    async fn check_versions(&self) {
        let mut prediction = PredictionServiceClient::new(self.channel.clone());
        for version in self.versions().await {
            let which = Some(v1::model_ref::Which::Version(version.version));
            let request = v1::PredictRequest {
                model: Some(v1::ModelRef { name: String::new(), which }),
                pixel_batch: Bytes::copy_from_slice(unseen_images(3).pixels()),
                ..v1::PredictRequest::default()
            };
            let response = prediction.predict(request).await.unwrap().into_inner();
            assert_eq!((response.version, response.predictions.len()), (version.version, 3));
        }
    }

    /// Checks that a run's events have no gap and begin with those that were received; returns its end.
    async fn check_events(&self, received: &[v1::TrainEvent]) -> v1::RunFinished {
        let replay = self.training().watch_run(watch(&run_id(received), 0)).await.unwrap().into_inner();
        let events = collect(replay).await;
        check_sequence(&events);
        assert_eq!(events[..received.len()], *received);
        finished(&events).clone()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // An error means that the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Trains until the moment, kills the program, and starts it again; returns the received events.
async fn die_at(
    store: &Path,
    request: v1::TrainRequest,
    moment: fn(&Event) -> bool,
) -> (Program, Vec<v1::TrainEvent>) {
    let program = Program::start(store);
    let mut stream = program.training().train(request).await.unwrap().into_inner();
    let received = until(&mut stream, moment).await;
    program.kill();
    (Program::start(store), received)
}

async fn publish_one(store: &Path) {
    let program = Program::start(store);
    let stream = program.training().train(tiny()).await.unwrap().into_inner();
    assert_eq!(finished(&collect(stream).await).version, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_server_died_is_reported_as_interrupted_and_no_version_is_lost() {
    let store = tempfile::tempdir().unwrap();
    publish_one(store.path()).await;
    let moments: [fn(&Event) -> bool; 5] = [
        |event| matches!(event, Event::Started(_)),
        |event| matches!(event, Event::Batch(batch) if batch.step == 3),
        |event| matches!(event, Event::Epoch(epoch) if epoch.epoch == 1),
        |event| matches!(event, Event::Checkpoint(_)),
        |event| matches!(event, Event::Batch(batch) if batch.step == 9),
    ];
    for moment in moments {
        let (program, received) = die_at(store.path(), endless(), moment).await;
        assert_eq!(program.run(&run_id(&received)).await.state(), v1::RunState::Interrupted);
        let end = program.check_events(&received).await;
        assert_eq!(end.reason(), v1::FinishReason::Interrupted);
        program.check_versions().await;
        assert_eq!(program.versions().await.len(), 1);
    }
    let program = Program::start(store.path());
    let stream = program.training().train(tiny()).await.unwrap().into_inner();
    assert_eq!(finished(&collect(stream).await).state(), v1::RunState::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_during_publishing_leaves_a_complete_version_or_none() {
    let store = tempfile::tempdir().unwrap();
    publish_one(store.path()).await;
    let moments: [fn(&Event) -> bool; 3] = [
        |event| matches!(event, Event::Epoch(epoch) if epoch.epoch == 2),
        |event| matches!(event, Event::Checkpoint(checkpoint) if checkpoint.epoch == Some(2)),
        |event| matches!(event, Event::Finished(_)),
    ];
    for moment in moments {
        let (program, received) = die_at(store.path(), tiny(), moment).await;
        let run = program.run(&run_id(&received)).await;
        let end = program.check_events(&received).await;
        assert_eq!((end.state(), end.version), (run.state(), run.version));
        program.check_versions().await;
        let versions = program.versions().await;
        match run.state() {
            v1::RunState::Completed => {
                let published = versions.iter().find(|version| version.run_id == run.run_id).unwrap();
                assert_eq!(Some(published.version), run.version);
            }
            state => assert_eq!(state, v1::RunState::Interrupted),
        }
        if matches!(received.last().unwrap().event, Some(Event::Finished(_))) {
            assert_eq!(run.state(), v1::RunState::Completed, "what was reported stays true");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waited_when_its_server_died_is_reported_as_interrupted() {
    let store = tempfile::tempdir().unwrap();
    let program = Program::start(store.path());
    let mut first = program.training().train(endless()).await.unwrap().into_inner();
    until(&mut first, |event| matches!(event, Event::Batch(_))).await;
    let waiting = v1::TrainRequest { queue: true, ..tiny() };
    let mut stream = program.training().train(waiting).await.unwrap().into_inner();
    let received = until(&mut stream, |event| matches!(event, Event::Queued(_))).await;
    program.kill();
    let program = Program::start(store.path());
    assert_eq!(program.run(&run_id(&received)).await.state(), v1::RunState::Interrupted);
    let end = program.check_events(&received).await;
    assert_eq!((end.reason(), end.seconds), (v1::FinishReason::Interrupted, Some(0.0)));
    assert_eq!(end.message, "the server ended before the run began");
}

/// Resumes a run of 40 epochs after `stop`; returns the digest of the weights and the reports in its log.
async fn resumed(
    store: &Path,
    moment: fn(&Event) -> bool,
    stop: fn(Program),
) -> (String, Vec<v1::TrainEvent>) {
    let program = Program::start(store);
    let mut stream = program.training().train(forty()).await.unwrap().into_inner();
    let received = until(&mut stream, moment).await;
    stop(program);
    let program = Program::start(store);
    let id = run_id(&received);
    let rest = collect(program.training().train(resume(&id)).await.unwrap().into_inner()).await;
    let version = finished(&rest).version.unwrap();
    let log = program.training().watch_run(watch(&id, 0)).await.unwrap().into_inner();
    let log = collect(log).await;
    check_sequence(&log);
    assert_eq!(log[..received.len()], received, "what was received stays");
    let versions = program.versions().await;
    let version = versions.into_iter().find(|known| known.version == version).unwrap();
    (version.weights_sha256, log)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_server_died_resumes_to_the_same_weights_and_reports_nothing_twice() {
    let store = tempfile::tempdir().unwrap();
    let program = Program::start(store.path());
    let whole = collect(program.training().train(forty()).await.unwrap().into_inner()).await;
    let digest = program.versions().await[0].weights_sha256.clone();
    program.kill();
    // The stops are before the first checkpoint, after one, right at one, and by SIGTERM in the middle of an
    // epoch.
    let before: fn(&Event) -> bool = |event| matches!(event, Event::Batch(batch) if batch.step == 1);
    let behind: fn(&Event) -> bool = |event| matches!(event, Event::Batch(batch) if batch.step == 16);
    let at: fn(&Event) -> bool = |event| matches!(event, Event::Checkpoint(_));
    for (moment, stop) in [
        (before, Program::kill as fn(Program)),
        (behind, Program::kill),
        (at, Program::kill),
        (behind, Program::terminate),
    ] {
        let (resumed, log) = resumed(store.path(), moment, stop).await;
        assert_eq!(resumed, digest);
        assert_eq!(story(&log), story(&whole));
        let steps = log.iter().filter_map(|event| match event.event.as_ref()? {
            Event::Checkpoint(checkpoint) => checkpoint.step,
            _ => None,
        });
        assert!(steps.collect::<Vec<_>>().is_sorted_by(|a, b| a < b), "no checkpoint is reported twice");
    }
}
