//! GetRun and ListRuns.

use digitd::pb::digitd::v1;

use super::{
    server::{TestServer, run_id, tiny},
    status::{check_field, error},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_run_shows_its_request_and_its_progress() {
    let server = TestServer::start().await;
    let events = server.train().await;
    let request = v1::GetRunRequest { run_id: run_id(&events) };
    let run = server.training().get_run(request).await.unwrap().into_inner().run.unwrap();
    assert_eq!((run.state(), run.reason()), (v1::RunState::Completed, v1::FinishReason::Completed));
    assert_eq!((run.epoch, run.step, run.version), (Some(2), Some(12), Some(1)));
    assert_eq!(run.last_sequence, Some(i32::try_from(events.len()).unwrap()));
    assert!(run.validation_accuracy.is_some() && run.train_loss.is_some() && run.end_time.is_some());
    let asked = run.request.unwrap();
    assert_eq!((asked.model.as_str(), asked.batch_size, asked.dataset), ("digits", Some(50), tiny().dataset));
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_listed_newest_first_in_pages() {
    let server = TestServer::start().await;
    let mut ids = Vec::new();
    for model in ["a", "b", "a"] {
        let request = v1::TrainRequest { model: model.to_owned(), epochs: Some(1), ..tiny() };
        let stream = server.training().train(request).await.unwrap().into_inner();
        ids.push(run_id(&super::server::collect(stream).await));
    }
    ids.reverse();
    assert_eq!(list(&server, 2, "").await, ids);
    assert_eq!(list(&server, 1, "").await, ids);
    assert_eq!(list(&server, 1, "a").await, [ids[0].clone(), ids[2].clone()]);
    assert_eq!(list(&server, 1, "nobody").await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_page_is_named() {
    let server = TestServer::start().await;
    let mut training = server.training();
    let request = v1::ListRunsRequest { page_size: Some(1001), ..v1::ListRunsRequest::default() };
    check_field(&error(training.list_runs(request).await), "page_size");
    let request = v1::ListRunsRequest { page_token: "3".to_owned(), ..v1::ListRunsRequest::default() };
    check_field(&error(training.list_runs(request).await), "page_token");
}

/// Returns the ids of all pages.
async fn list(server: &TestServer, page_size: i32, model: &str) -> Vec<String> {
    let mut request = v1::ListRunsRequest {
        page_size: Some(page_size),
        page_token: String::new(),
        model: model.to_owned(),
    };
    let mut ids = Vec::new();
    loop {
        let page = server.training().list_runs(request.clone()).await.unwrap().into_inner();
        assert!(page.runs.len() <= usize::try_from(page_size).unwrap());
        ids.extend(page.runs.into_iter().map(|run| run.run_id));
        if page.next_page_token.is_empty() {
            return ids;
        }
        request.page_token = page.next_page_token;
    }
}
