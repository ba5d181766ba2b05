//! Runs that start from a version's weights.

use digitd::pb::digitd::v1::{self, model_ref::Which};
use tonic::Code;

use super::{
    server::{TestServer, collect, finished, run_id, tiny},
    status::{check_field, check_not_found, error},
};

/// Flatten and one linear layer of ten outputs, called `name`.
fn linear(name: &str) -> Option<v1::Network> {
    let layer = |name: &str, kind| v1::Layer { name: name.to_owned(), kind: Some(kind) };
    let layers = vec![
        layer("flat", v1::layer::Kind::Flatten(v1::Flatten {})),
        layer(name, v1::layer::Kind::Linear(v1::Linear { out_features: 10 })),
    ];
    Some(v1::Network { layers, ..v1::Network::default() })
}

fn sgd(learning_rate: f64) -> Option<v1::Optimizer> {
    let sgd = v1::Sgd { learning_rate: Some(learning_rate) };
    Some(v1::Optimizer { rule: Some(v1::optimizer::Rule::Sgd(sgd)) })
}

fn from(which: Which) -> Option<v1::ModelRef> {
    Some(v1::ModelRef { name: String::new(), which: Some(which) })
}

async fn train(server: &TestServer, request: v1::TrainRequest) -> Vec<v1::TrainEvent> {
    let events = collect(server.training().train(request).await.unwrap().into_inner()).await;
    assert_eq!(finished(&events).state(), v1::RunState::Completed);
    events
}

async fn version(server: &TestServer, number: i32) -> v1::ModelVersion {
    let which = Some(v1::get_version_request::Which::Version(number));
    let request = v1::GetVersionRequest { name: String::new(), which };
    server.registry().get_version(request).await.unwrap().into_inner().version.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_starts_from_the_weights_of_a_version_and_names_it_as_its_parent() {
    let server = TestServer::start().await;
    train(&server, v1::TrainRequest { network: linear("head"), ..tiny() }).await;
    // These steps are too small for float32, so the weights do not change.
    let request = v1::TrainRequest {
        initial: from(Which::Alias("latest".to_owned())),
        optimizer: sgd(1e-30),
        seed: Some(9),
        ..tiny()
    };
    let events = train(&server, request).await;
    let (first, second) = (version(&server, 1).await, version(&server, 2).await);
    assert_eq!(second.weights_sha256, first.weights_sha256);
    assert_eq!(second.layers, first.layers, "the network is taken from the version");
    assert_eq!(first.parent, None);
    let exact = Some(v1::ModelRef { name: "digits".to_owned(), which: Some(Which::Version(1)) });
    assert_eq!(second.parent, exact);
    let request = v1::GetRunRequest { run_id: run_id(&events) };
    let run = server.training().get_run(request).await.unwrap().into_inner().run.unwrap();
    assert_eq!(run.request.unwrap().initial, exact, "`latest` has moved on, the run's request has not");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_the_initial_weights_do_not_fit_is_rejected_by_its_parameter() {
    let server = TestServer::start().await;
    train(&server, v1::TrainRequest { network: linear("head"), ..tiny() }).await;
    let initial = from(Which::Version(1));
    let other = v1::TrainRequest { initial: initial.clone(), network: linear("tail"), ..tiny() };
    let rejected = error(server.training().train(other).await);
    check_field(&rejected, "initial");
    assert!(rejected.message().contains("\"tail.weight\" is missing"), "{}", rejected.message());
    let smaller = v1::layer::Kind::MaxPool(v1::MaxPool { kernel_size: 2, stride: None });
    let mut network = linear("head").unwrap();
    network.layers.insert(0, v1::Layer { name: "pool".to_owned(), kind: Some(smaller) });
    let other = v1::TrainRequest { initial, network: Some(network), ..tiny() };
    let rejected = error(server.training().train(other).await);
    assert!(rejected.message().contains("\"head.weight\" has shape [10, 784], not [10, 196]"), "{rejected}");
    let runs = server.training().list_runs(v1::ListRunsRequest::default()).await.unwrap().into_inner().runs;
    assert_eq!(runs.len(), 1, "a rejected request leaves no run");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_initial_version_is_not_found() {
    let server = TestServer::start().await;
    let ask = async |initial| error(server.training().train(v1::TrainRequest { initial, ..tiny() }).await);
    check_not_found(&ask(Some(v1::ModelRef::default())).await, "MODEL_NOT_FOUND", "digits");
    train(&server, v1::TrainRequest { network: linear("head"), ..tiny() }).await;
    check_not_found(&ask(from(Which::Version(9))).await, "VERSION_NOT_FOUND", "digits/9");
    let beta = ask(from(Which::Alias("beta".to_owned()))).await;
    check_not_found(&beta, "ALIAS_NOT_FOUND", "digits/beta");
    let nobody = ask(from(Which::Version(0))).await;
    check_field(&nobody, "initial.version");
    assert_eq!(nobody.code(), Code::InvalidArgument);
}
