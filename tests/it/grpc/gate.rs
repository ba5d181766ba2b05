//! The gate: an alias moves only to a version that was measured to meet the requirements, and its history
//! keeps the evidence.

use digitd::pb::digitd::v1;
use tonic::Code;
use tonic_types::StatusExt;

use super::{
    server::TestServer,
    status::{check, check_field, check_not_found, error},
};

fn production() -> Option<v1::Promotion> {
    Some(v1::Promotion { alias: "production".to_owned(), ..v1::Promotion::default() })
}

fn gated(require: &[&str]) -> v1::EvaluateRequest {
    v1::EvaluateRequest {
        split: v1::Split::Validation.into(),
        require: require.iter().map(|&text| text.to_owned()).collect(),
        promote: production(),
        ..v1::EvaluateRequest::default()
    }
}

fn set(version: i32, require: &[&str]) -> v1::SetAliasRequest {
    v1::SetAliasRequest {
        alias: "production".to_owned(),
        version,
        require: require.iter().map(|&text| text.to_owned()).collect(),
        ..v1::SetAliasRequest::default()
    }
}

async fn history(server: &TestServer) -> Vec<v1::AliasAssignment> {
    let request = v1::ListAliasHistoryRequest { alias: "production".to_owned(), ..Default::default() };
    server.registry().list_alias_history(request).await.unwrap().into_inner().assignments
}

async fn check_unset(server: &TestServer) {
    let request = v1::ListAliasHistoryRequest { alias: "production".to_owned(), ..Default::default() };
    let missing = error(server.registry().list_alias_history(request).await);
    check_not_found(&missing, "ALIAS_NOT_FOUND", "digits/production");
}

#[tokio::test(flavor = "multi_thread")]
async fn requirements_that_are_met_move_the_alias_and_stay_in_its_history() {
    let server = TestServer::start().await;
    server.train().await;
    let mut request = gated(&["accuracy>=0.1", "loss < 100", "recall[3]>=0"]);
    request.promote = Some(v1::Promotion {
        expected_version: Some(0),
        reason: "good enough".to_owned(),
        by: "ana".to_owned(),
        ..production().unwrap()
    });
    let response = server.analysis().evaluate(request).await.unwrap().into_inner();
    let moved = response.promoted.clone().unwrap();
    assert_eq!((moved.version, moved.by.as_str(), moved.reason.as_str()), (1, "ana", "good enough"));
    let evidence = moved.evidence.clone().unwrap();
    assert_eq!(evidence.results, response.results);
    let measured: Vec<_> = evidence.results.iter().map(|it| (it.requirement.as_str(), it.measured)).collect();
    let recall = response.classes[3].recall;
    let expected =
        [("accuracy>=0.1", response.accuracy), ("loss<100", response.loss), ("recall[3]>=0", recall)];
    assert_eq!(measured, expected);
    assert_eq!((evidence.split(), evidence.images), (v1::Split::Validation, 100));
    assert_eq!(evidence.dataset.as_ref().unwrap().name, "synthetic");
    assert_eq!(evidence.dataset_digest, response.dataset_digest);
    assert_eq!(history(&server).await, std::slice::from_ref(&moved));
    // A server that starts on the same store has the history too.
    let server = TestServer::on(server.stop().await).await;
    assert_eq!(history(&server).await, [moved]);
}

#[tokio::test(flavor = "multi_thread")]
async fn requirements_that_are_not_met_are_rejected_with_the_values_and_move_nothing() {
    let server = TestServer::start().await;
    server.train().await;
    let plain = v1::EvaluateRequest { split: v1::Split::Validation.into(), ..Default::default() };
    let measured = server.analysis().evaluate(plain).await.unwrap().into_inner();
    let rejected = error(server.analysis().evaluate(gated(&["accuracy>=0.1", "loss<=0.0001"])).await);
    check(&rejected, Code::FailedPrecondition, "REQUIREMENT_NOT_MET");
    let loss = measured.loss.unwrap();
    assert!(rejected.message().contains(&format!("loss<=0.0001 (it is {loss})")), "{}", rejected.message());
    assert!(rejected.message().contains("production was not moved"), "{}", rejected.message());
    let facts = rejected.get_details_error_info().unwrap().metadata;
    let accuracy = measured.accuracy.unwrap();
    assert_eq!(facts["figures"], format!("accuracy>=0.1: {accuracy}; loss<=0.0001: {loss}"));
    assert_eq!(
        (&facts["version"], &facts["dataset_digest"]),
        (&"digits/1".to_owned(), &measured.dataset_digest)
    );
    let violations = rejected.get_details_precondition_failure().unwrap().violations;
    assert_eq!((violations.len(), violations[0].subject.as_str()), (1, "digits/1"));
    check_unset(&server).await;
    // The largest number of requirements, all of which fail, still fits into the headers that every client
    // accepts.
    let all = error(server.analysis().evaluate(gated(&["weighted_average_precision>0.999999999"; 10])).await);
    check(&all, Code::FailedPrecondition, "REQUIREMENT_NOT_MET");
    assert_eq!(all.get_details_precondition_failure().unwrap().violations.len(), 10);
    assert!(all.details().len() * 4 / 3 + 2 * all.message().len() < 7000, "{}", all.details().len());
    // The same over the stream, and without an alias to move.
    let request = v1::EvaluateRequest { promote: None, ..gated(&["accuracy>0.9999"]) };
    let mut events = server.analysis().evaluate_stream(request).await.unwrap().into_inner();
    let rejected = loop {
        match events.message().await {
            Ok(event) => {
                assert!(matches!(event.unwrap().event, Some(v1::evaluate_event::Event::Progress(_))))
            }
            Err(status) => break status,
        }
    };
    check(&rejected, Code::FailedPrecondition, "REQUIREMENT_NOT_MET");
}

#[tokio::test(flavor = "multi_thread")]
async fn set_alias_measures_the_version_that_it_moves_to() {
    let server = TestServer::start().await;
    server.train_seeded(0).await;
    server.train_seeded(1).await;
    let mut registry = server.registry();
    let rejected = error(registry.set_alias(set(1, &["accuracy>=1", "loss<=0"])).await);
    check(&rejected, Code::FailedPrecondition, "REQUIREMENT_NOT_MET");
    assert_eq!(rejected.get_details_precondition_failure().unwrap().violations.len(), 2);
    check_unset(&server).await;
    let request = v1::SetAliasRequest {
        split: v1::Split::Train.into(),
        reason: "first".to_owned(),
        ..set(1, &["accuracy>=0.2"])
    };
    let moved = registry.set_alias(request).await.unwrap().into_inner().assignment.unwrap();
    let evidence = moved.evidence.as_ref().unwrap();
    assert_eq!((moved.version, evidence.images, evidence.split()), (1, 300, v1::Split::Train));
    assert_eq!((moved.by.as_str(), moved.reason.as_str()), ("127.0.0.1", "first"));
    let which = Some(v1::model_ref::Which::Version(1));
    let model = Some(v1::ModelRef { name: String::new(), which });
    let request = v1::EvaluateRequest { model, split: v1::Split::Train.into(), ..Default::default() };
    let measured = server.analysis().evaluate(request).await.unwrap().into_inner();
    assert_eq!(evidence.results[0].measured, measured.accuracy, "of version 1, not of the newest");

    let elsewhere = v1::SetAliasRequest { expected_version: Some(2), ..set(2, &["accuracy>=0"]) };
    check(&error(registry.set_alias(elsewhere).await), Code::FailedPrecondition, "ALIAS_MOVED");
    let plain = registry.set_alias(set(2, &[])).await.unwrap().into_inner().assignment.unwrap();
    assert!(plain.evidence.is_none());
    assert_eq!(history(&server).await, [plain, moved]);
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_requirements_are_rejected_by_name() {
    let server = TestServer::start().await;
    server.train().await;
    for (require, field) in [
        (&["acuracy>=0.9"][..], "require[0]"),
        (&["accuracy>=0.9", "accuracy>=abc"], "require[1]"),
        (&["accuracy>=NaN"], "require[0]"),
        (&["loss<=inf"], "require[0]"),
        (&["accuracy>=99"], "require[0]"),
        (&["recall[10]>=0.9"], "require[0]"),
        (&[""], "require[0]"),
        (&["loss<9"; 11], "require"),
    ] {
        check_field(&error(server.analysis().evaluate(gated(require)).await), field);
        check_field(&error(server.registry().set_alias(set(1, require)).await), field);
    }
    check_field(&error(server.analysis().evaluate(gated(&[])).await), "promote");
    let mut request = gated(&["accuracy>=0"]);
    request.promote = Some(v1::Promotion::default());
    check_field(&error(server.analysis().evaluate(request.clone()).await), "promote.alias");
    request.promote = Some(v1::Promotion { alias: "7".to_owned(), ..v1::Promotion::default() });
    check_field(&error(server.analysis().evaluate(request.clone()).await), "promote.alias");
    request.promote = Some(v1::Promotion { expected_version: Some(-1), ..production().unwrap() });
    check_field(&error(server.analysis().evaluate(request).await), "promote.expected_version");
    let split = v1::SetAliasRequest { split: v1::Split::Test.into(), ..set(1, &[]) };
    check_field(&error(server.registry().set_alias(split).await), "split");
    let missing = error(server.registry().set_alias(set(9, &["accuracy>=0"])).await);
    check_not_found(&missing, "VERSION_NOT_FOUND", "digits/9");
    check_unset(&server).await;
}
