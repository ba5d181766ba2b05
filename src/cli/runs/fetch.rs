//! Fetches the histories of runs from a server.

use std::collections::HashSet;

use crate::{
    cli::error::Error,
    pb::digitd::v1::{ListRunsRequest, TrainEvent},
    report::run::RunHistory,
};
use digitd_client::Client;

/// The events of a run up to now; a run that still trains is not waited for.
pub async fn fetch_history(client: &Client, run_id: &str) -> Result<RunHistory, Error> {
    let run = client.run(run_id).await?;
    let newest = run.last_sequence.unwrap_or_default();
    let mut events: Vec<TrainEvent> = Vec::new();
    if newest > 0 {
        let mut stream = client.watch(run_id, 0).await?;
        while events.last().is_none_or(|event| event.sequence < newest) {
            let Some(event) = stream.next().await? else { break };
            events.push(event);
        }
    }
    Ok(RunHistory { run, events })
}

/// The same for several runs; for the newest one where none is named.
pub async fn fetch_histories(client: &Client, run_ids: &[String]) -> Result<Vec<RunHistory>, Error> {
    let mut seen = HashSet::new();
    if let Some(repeated) = run_ids.iter().find(|run_id| !seen.insert(run_id.as_str())) {
        return Err(Error::Usage(format!("run {repeated} is named twice: name each run once")));
    }
    let mut histories = Vec::new();
    for run_id in run_ids {
        histories.push(fetch_history(client, run_id).await?);
    }
    if histories.is_empty() {
        histories.push(fetch_history(client, &newest_run(client).await?).await?);
    }
    Ok(histories)
}

async fn newest_run(client: &Client) -> Result<String, Error> {
    let request = ListRunsRequest { page_size: Some(1), ..Default::default() };
    let newest = client.runs(request).await?.runs.pop();
    let none = || Error::Usage("there is no run yet: `digitd train` starts one".to_owned());
    newest.map(|run| run.run_id).ok_or_else(none)
}
