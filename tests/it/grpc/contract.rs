//! Health and reflection by their own protocols; every comment of the contract is there.

use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet, source_code_info::Location};
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use digitd::pb::digitd::v1;

use super::{
    server::{TestServer, channel, collect, tiny},
    status::error,
};

const SERVICES: [&str; 5] = [
    "digitd.v1.TrainingService",
    "digitd.v1.AnalysisService",
    "digitd.v1.PredictionService",
    "digitd.v1.RegistryService",
    "inference.GRPCInferenceService",
];

#[tokio::test(flavor = "multi_thread")]
async fn services_that_predict_wait_for_the_first_model_and_the_others_serve() {
    let server = TestServer::start().await;
    for channel in [server.channel(), channel(server.http_addr)] {
        let mut health = HealthClient::new(channel);
        for service in SERVICES.into_iter().chain([""]) {
            let waits =
                ["digitd.v1.PredictionService", "inference.GRPCInferenceService", ""].contains(&service);
            let expected = if waits { ServingStatus::NotServing } else { ServingStatus::Serving };
            let request = HealthCheckRequest { service: service.to_owned() };
            let status = health.check(request).await.unwrap().into_inner().status();
            assert_eq!(status, expected, "{service:?}");
        }
        let request = HealthCheckRequest { service: "digitd.v1.NoService".to_owned() };
        assert_eq!(health.check(request).await.unwrap_err().code(), Code::NotFound);
    }
    let mut watched = Vec::new();
    for channel in [server.channel(), channel(server.http_addr)] {
        for service in ["", "digitd.v1.PredictionService", "inference.GRPCInferenceService"] {
            let request = HealthCheckRequest { service: service.to_owned() };
            let mut news = HealthClient::new(channel.clone()).watch(request).await.unwrap().into_inner();
            assert_eq!(news.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
            watched.push(news);
        }
    }
    // The name of the model does not matter, and no prediction is needed to load it.
    let run = server.training().train(v1::TrainRequest { model: "other".to_owned(), ..tiny() }).await;
    collect(run.unwrap().into_inner()).await;
    for mut news in watched {
        assert_eq!(news.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_are_served_on_the_plain_port() {
    let server = TestServer::start().await;
    for (path, expected) in [("livez", "alive\n"), ("readyz", "ready\n")] {
        let url = format!("http://{}/{path}", server.http_addr);
        let fetched = tokio::task::spawn_blocking(move || ureq::get(url).call()?.body_mut().read_to_string());
        assert_eq!(fetched.await.unwrap().unwrap(), expected);
    }
}

/// The responses of one version of the reflection service: the names of services, and the files that declare
/// a symbol. Both versions have the same messages in different modules.
macro_rules! reflect {
    ($version:ident, $server:expr) => {{
        use futures::stream;
        use tonic_reflection::pb::$version::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
        };
        let mut client = ServerReflectionClient::new($server.channel());
        let mut ask = async |request| {
            let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
            let mut responses =
                client.server_reflection_info(stream::iter([request])).await.unwrap().into_inner();
            responses.message().await.unwrap().unwrap().message_response.unwrap()
        };
        let MessageResponse::ListServicesResponse(listed) =
            ask(MessageRequest::ListServices(String::new())).await
        else {
            panic!("no list")
        };
        let symbol = "digitd.v1.TrainRequest".to_owned();
        let MessageResponse::FileDescriptorResponse(files) =
            ask(MessageRequest::FileContainingSymbol(symbol)).await
        else {
            panic!("no file")
        };
        let names: Vec<String> = listed.service.into_iter().map(|service| service.name).collect();
        (names, files.file_descriptor_proto)
    }};
}

#[tokio::test(flavor = "multi_thread")]
async fn both_reflections_show_services_and_comments() {
    let server = TestServer::start().await;
    for (names, files) in [reflect!(v1, server), reflect!(v1alpha, server)] {
        for service in SERVICES.into_iter().chain(["grpc.health.v1.Health"]) {
            assert!(names.iter().any(|name| name == service), "{service} is not in {names:?}");
        }
        let files = files.iter().map(|file| FileDescriptorProto::decode(&file[..]).unwrap());
        let run = files.into_iter().find(|file| file.name() == "digitd/v1/run.proto").unwrap();
        let comments = run.source_code_info.unwrap().location;
        let mut comments = comments.iter().map(Location::leading_comments);
        assert!(comments.any(|comment| comment.contains("what to train, and how")));
    }
}

#[test]
fn every_message_field_enum_and_rpc_of_the_contract_is_commented() {
    let set = FileDescriptorSet::decode(digitd::pb::FILE_DESCRIPTOR_SET).unwrap();
    let own = set.file.iter().filter(|file| ["digitd.v1", "inference"].contains(&file.package()));
    let mut commented = 0;
    for file in own {
        let info = file.source_code_info.as_ref().expect("comments are kept");
        let has_comment = |path: &[i32]| {
            info.location.iter().any(|at| at.path == path && !at.leading_comments().trim().is_empty())
        };
        for (index, message) in (0..).zip(&file.message_type) {
            assert!(has_comment(&[4, index]), "message {}", message.name());
            for (field_index, field) in (0..).zip(&message.field) {
                let path = [4, index, 2, field_index];
                assert!(has_comment(&path), "field {}.{}", message.name(), field.name());
                commented += 1;
            }
        }
        for (index, kind) in (0..).zip(&file.enum_type) {
            assert!(has_comment(&[5, index]), "enum {}", kind.name());
            for (value_index, value) in (0..).zip(&kind.value) {
                assert!(has_comment(&[5, index, 2, value_index]), "value {}", value.name());
            }
        }
        for (index, service) in (0..).zip(&file.service) {
            assert!(has_comment(&[6, index]), "service {}", service.name());
            for (method_index, method) in (0..).zip(&service.method) {
                assert!(has_comment(&[6, index, 2, method_index]), "rpc {}", method.name());
            }
        }
    }
    assert!(commented > 100, "{commented} fields");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_method_is_unimplemented() {
    let server = TestServer::start().await;
    let mut client = tonic::client::Grpc::new(server.channel());
    client.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let path = http::uri::PathAndQuery::from_static("/digitd.v1.TrainingService/Fly");
    let missing = error(client.unary(tonic::Request::new(()), path, codec).await);
    assert_eq!(missing.code(), Code::Unimplemented);
}
