//! The model registry over the wire.

use digitd::pb::digitd::v1;
use tonic::Code;
use tonic_types::StatusExt;

use super::{
    server::{TestServer, run_id},
    status::{check, check_field, check_not_found, error},
};

async fn point(server: &TestServer, alias: &str, version: i32) -> v1::AliasAssignment {
    let set = v1::SetAliasRequest { alias: alias.to_owned(), version, ..v1::SetAliasRequest::default() };
    server.registry().set_alias(set).await.unwrap().into_inner().assignment.unwrap()
}

async fn history(server: &TestServer, alias: &str) -> Vec<(i32, i32, Option<i32>)> {
    let request = v1::ListAliasHistoryRequest { alias: alias.to_owned(), ..Default::default() };
    let history = server.registry().list_alias_history(request).await.unwrap().into_inner();
    history.assignments.into_iter().map(|a| (a.number, a.version, a.previous_version)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_run_publishes_the_next_version_and_moves_latest() {
    let server = TestServer::start().await;
    let first = server.train().await;
    server.train().await;
    let models = server.registry().list_models(v1::ListModelsRequest {}).await.unwrap().into_inner().models;
    assert_eq!(models.len(), 1);
    assert_eq!(
        (models[0].name.as_str(), models[0].newest_version, models[0].version_count),
        ("digits", 2, 2)
    );
    assert_eq!(models[0].aliases, [("latest".to_owned(), 2)].into());
    assert_eq!(history(&server, "latest").await, [(2, 2, Some(1)), (1, 1, None)]);

    let which = Some(v1::get_version_request::Which::Version(1));
    let request = v1::GetVersionRequest { name: "digits".to_owned(), which };
    let version = server.registry().get_version(request).await.unwrap().into_inner().version.unwrap();
    assert_eq!((version.version, version.run_id), (1, run_id(&first)));
    assert_eq!((version.layers.len(), version.total_parameters), (8, 20_350));
    assert_eq!(version.request.unwrap().batch_size, Some(50));
    assert_eq!((version.weights_sha256.len(), version.dataset_digest.len()), (64, 64));
    assert!(version.weights_bytes > 4 * 20_350 && version.validation_accuracy.is_some());
    assert_eq!(version.digitd_version, env!("CARGO_PKG_VERSION"));
    assert_eq!(version.aliases, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_moves_the_requested_alias() {
    let server = TestServer::start().await;
    let request = v1::TrainRequest { set_alias: "production".to_owned(), ..super::server::tiny() };
    super::server::collect(server.training().train(request).await.unwrap().into_inner()).await;
    let request = v1::GetVersionRequest::default();
    let version = server.registry().get_version(request).await.unwrap().into_inner().version.unwrap();
    assert_eq!(version.aliases, ["latest", "production"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_listed_newest_first_in_pages() {
    let server = TestServer::start().await;
    for _ in 0..3 {
        server.train().await;
    }
    let mut request = v1::ListVersionsRequest { page_size: Some(2), ..v1::ListVersionsRequest::default() };
    let page = server.registry().list_versions(request.clone()).await.unwrap().into_inner();
    let numbers = |versions: &[v1::ModelVersion]| versions.iter().map(|v| v.version).collect::<Vec<_>>();
    assert_eq!(numbers(&page.versions), [3, 2]);
    request.page_token = page.next_page_token;
    let page = server.registry().list_versions(request).await.unwrap().into_inner();
    assert_eq!((numbers(&page.versions), page.next_page_token.as_str()), (vec![1], ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_moves_only_from_where_it_was_expected() {
    let server = TestServer::start().await;
    server.train().await;
    server.train().await;
    let mut registry = server.registry();
    let mut set = v1::SetAliasRequest {
        alias: "production".to_owned(),
        version: 1,
        expected_version: Some(0),
        reason: "first".to_owned(),
        ..v1::SetAliasRequest::default()
    };
    let first = registry.set_alias(set.clone()).await.unwrap().into_inner().assignment.unwrap();
    assert_eq!((first.number, first.version, first.reason.as_str()), (1, 1, "first"));
    set.version = 2;
    let moved = error(registry.set_alias(set.clone()).await);
    check(&moved, Code::FailedPrecondition, "ALIAS_MOVED");
    assert_eq!(moved.get_details_error_info().unwrap().metadata["found_version"], "1");
    set.expected_version = Some(1);
    registry.set_alias(set).await.unwrap();

    let back = v1::RollbackRequest { alias: "production".to_owned(), ..v1::RollbackRequest::default() };
    let first = v1::RollbackRequest { alias: "first".to_owned(), ..back.clone() };
    point(&server, "first", 1).await;
    check(&error(registry.rollback(first).await), Code::FailedPrecondition, "NOTHING_TO_ROLL_BACK");
    let back = registry.rollback(back).await.unwrap().into_inner().assignment.unwrap();
    assert_eq!((back.number, back.version, back.previous_version), (3, 1, Some(2)));
    let versions = history(&server, "production").await;
    assert_eq!(versions, [(3, 1, Some(2)), (2, 2, Some(1)), (1, 1, None)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_records_who_moved_it_when_from_where_and_why() {
    let server = TestServer::start().await;
    server.train().await;
    server.train().await;
    point(&server, "production", 1).await;
    let set = v1::SetAliasRequest {
        alias: "production".to_owned(),
        version: 2,
        by: "ana".to_owned(),
        reason: "better on sevens".to_owned(),
        ..v1::SetAliasRequest::default()
    };
    server.registry().set_alias(set).await.unwrap();
    let (alias, by) = ("production".to_owned(), "bo".to_owned());
    let back = v1::RollbackRequest { alias, by, ..v1::RollbackRequest::default() };
    server.registry().rollback(back).await.unwrap();
    let moves_of = async |alias: &str| {
        let request = v1::ListAliasHistoryRequest { alias: alias.to_owned(), ..Default::default() };
        let history = server.registry().list_alias_history(request).await.unwrap().into_inner();
        assert!(history.assignments.iter().all(|it| it.time.is_some()));
        history
            .assignments
            .into_iter()
            .map(|it| (it.by, it.previous_version, it.version, it.reason))
            .collect::<Vec<_>>()
    };
    let text = str::to_owned;
    let moves = [
        (text("bo"), Some(2), 1, String::new()),
        (text("ana"), Some(1), 2, text("better on sevens")),
        (text("127.0.0.1"), None, 1, String::new()),
    ];
    assert_eq!(moves_of("production").await, moves);
    let latest = moves_of("latest").await;
    assert!(
        latest.iter().all(|(by, _, _, reason)| by == "digitd" && reason.starts_with("run ")),
        "{latest:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_of_an_alias_is_listed_in_pages() {
    let server = TestServer::start().await;
    server.train().await;
    server.train().await;
    for turn in 0..5 {
        point(&server, "production", 1 + turn % 2).await;
    }
    let page = async |page_token: String| {
        let (alias, page_size) = ("production".to_owned(), Some(2));
        let request = v1::ListAliasHistoryRequest { alias, page_size, page_token, ..Default::default() };
        let page = server.registry().list_alias_history(request).await.unwrap().into_inner();
        let numbers: Vec<i32> = page.assignments.iter().map(|assignment| assignment.number).collect();
        (numbers, page.next_page_token)
    };
    let (first, token) = page(String::new()).await;
    let (second, token) = page(token).await;
    let (third, token) = page(token).await;
    assert_eq!((first, second, third), (vec![5, 4], vec![3, 2], vec![1]));
    assert_eq!(token, "");
    let client = digitd_client::Client::connect(&format!("http://{}", server.addr)).await.unwrap();
    assert_eq!(client.alias_history("", "production").await.unwrap().len(), 5);
    for (page_size, page_token, field) in [(Some(0), "", "page_size"), (None, "runs-before-1", "page_token")]
    {
        let (alias, page_token) = ("production".to_owned(), page_token.to_owned());
        let request = v1::ListAliasHistoryRequest { alias, page_size, page_token, ..Default::default() };
        check_field(&error(server.registry().list_alias_history(request).await), field);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_with_an_alias_is_not_deleted_and_a_number_is_not_used_again() {
    let server = TestServer::start().await;
    server.train().await;
    server.train().await;
    let delete = |version| v1::DeleteVersionRequest { name: String::new(), version };
    let mut registry = server.registry();
    let aliased = error(registry.delete_version(delete(2)).await);
    check(&aliased, Code::FailedPrecondition, "VERSION_ALIASED");
    assert_eq!(aliased.get_details_error_info().unwrap().metadata["aliases"], "latest");
    registry.delete_version(delete(1)).await.unwrap();
    let gone = error(registry.delete_version(delete(1)).await);
    check_not_found(&gone, "VERSION_NOT_FOUND", "digits/1");
    point(&server, "latest", 2).await;
    let events = server.train().await;
    assert_eq!(super::server::finished(&events).version, Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_aliases_and_versions_are_rejected() {
    let server = TestServer::start().await;
    server.train().await;
    let mut registry = server.registry();
    let set = |alias: &str, version| v1::SetAliasRequest {
        alias: alias.to_owned(),
        version,
        ..v1::SetAliasRequest::default()
    };
    check_field(&error(registry.set_alias(set("", 1)).await), "alias");
    check_field(&error(registry.set_alias(set("7", 1)).await), "alias");
    check_field(&error(registry.set_alias(set("production", 0)).await), "version");
    let missing = error(registry.set_alias(set("production", 9)).await);
    check_not_found(&missing, "VERSION_NOT_FOUND", "digits/9");
    let request = v1::ListVersionsRequest { name: "nobody".to_owned(), ..Default::default() };
    check_not_found(&error(registry.list_versions(request).await), "MODEL_NOT_FOUND", "nobody");
    let request = v1::ListAliasHistoryRequest { alias: "beta".to_owned(), ..Default::default() };
    check_not_found(&error(registry.list_alias_history(request).await), "ALIAS_NOT_FOUND", "digits/beta");
}
