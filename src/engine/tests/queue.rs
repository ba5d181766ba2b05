//! Runs that wait for the slot, and requests that are only validated.

use super::*;
use crate::{ids::VersionRef, nn::NetworkConfig};

async fn queue(engine: &Engine, config: TrainConfig) -> RunId {
    begin(engine, config, WhenBusy::Wait).await.unwrap()
}

fn is_queued(record: &Record, after: RunId, place: u32) -> bool {
    matches!(&record.event, Event::Queued(queued) if (queued.behind, queued.position) == (after, place))
}

#[tokio::test]
async fn queued_runs_get_the_slot_in_order_and_their_logs_have_no_gap() {
    let engine = engine(&memory().await).await;
    let first = queue(&engine, endless()).await;
    let (second, third) = (queue(&engine, short()).await, queue(&engine, short()).await);
    for waiting in [second, third] {
        assert_eq!(engine.run(waiting).await.unwrap().state, RunState::Queued);
    }
    let busy = train(&engine, short()).await;
    assert!(matches!(busy, Err(Error::TrainingBusy { run }) if run == first), "{busy:?}");
    engine.cancel(first).await.unwrap();
    let (second, third) = (events(&engine, second).await, events(&engine, third).await);
    assert!(is_queued(&second[0], first, 1) && is_queued(&third[0], first, 2));
    for records in [&second, &third] {
        assert!(matches!(records[1].event, Event::Started(_)));
        assert_eq!(ending(records).state, RunState::Completed);
    }
    assert!(third[1].time >= second.last().unwrap().time, "one at a time");
    assert!(
        matches!(events(&engine, first).await[0].event, Event::Started(_)),
        "a free slot is taken at once"
    );
}

#[tokio::test]
async fn a_run_that_waits_can_be_cancelled_and_the_next_one_gets_its_turn() {
    let engine = engine(&memory().await).await;
    let first = train(&engine, endless()).await.unwrap();
    let (second, third) = (queue(&engine, short()).await, queue(&engine, short()).await);
    engine.cancel(second).await.unwrap();
    let records = events(&engine, second).await;
    assert_eq!((records.len(), ending(&records).state), (2, RunState::Cancelled));
    assert_eq!(engine.run(second).await.unwrap().state, RunState::Cancelled);
    // It has no checkpoint, so it starts again when it is resumed, at the end of the queue.
    resume(&engine, second, short(), WhenBusy::Wait).await.unwrap();
    engine.cancel(first).await.unwrap();
    assert_eq!(ending(&events(&engine, third).await).state, RunState::Completed);
    assert_eq!(ending(&events(&engine, second).await).state, RunState::Completed);
}

#[tokio::test]
async fn a_shutdown_ends_queued_runs_and_a_restart_reports_so() {
    for (registry, _folder) in testing::stores().await {
        let first = engine(&registry).await;
        let run = train(&first, endless()).await.unwrap();
        let waiting = [queue(&first, short()).await, queue(&first, short()).await];
        first_batch(&first, run).await;
        first.shutdown().await;
        assert!(matches!(begin(&first, short(), WhenBusy::Wait).await, Err(Error::Draining)));
        let mut logs = Vec::new();
        for run in waiting {
            let records = events(&first, run).await;
            assert_eq!((records.len(), ending(&records).state), (2, RunState::Interrupted));
            assert_eq!(ending(&records).message, "the server went down before the run began");
            logs.push(records);
        }
        drop(first);
        let second = engine(&registry).await;
        for (run, records) in waiting.into_iter().zip(logs) {
            assert_eq!(events(&second, run).await, records);
            assert_eq!(second.run(run).await.unwrap().state, RunState::Interrupted);
        }
    }
}

#[tokio::test]
async fn an_engine_that_is_dropped_ends_its_queued_runs() {
    let registry = memory().await;
    let first = engine(&registry).await;
    let mut watches = Vec::new();
    for config in [endless(), short(), short()] {
        let run = queue(&first, config).await;
        watches.push(first.watch(run, 0).await.unwrap());
    }
    drop(first);
    for mut watch in watches {
        let mut records = Vec::new();
        while let Some(next) = watch.next().await.unwrap() {
            records.extend(next.iter().map(|record| (**record).clone()));
        }
        assert_eq!(ending(&records).state, RunState::Interrupted);
    }
}

#[tokio::test]
async fn a_run_that_is_resumed_waits_for_its_turn_and_waits_once() {
    let engine = engine(&memory().await).await;
    let run = train(&engine, endless()).await.unwrap();
    first_batch(&engine, run).await;
    engine.cancel(run).await.unwrap();
    let before = events(&engine, run).await;
    let other = train(&engine, endless()).await.unwrap();
    let last = resume(&engine, run, endless(), WhenBusy::Wait).await.unwrap();
    assert_eq!(last, before.last().unwrap().sequence);
    assert_eq!(engine.run(run).await.unwrap().state, RunState::Queued);
    let again = resume(&engine, run, endless(), WhenBusy::Wait).await;
    assert!(matches!(again, Err(Error::NotResumable { reason: "RUN_NOT_ENDED", .. })), "{again:?}");
    engine.cancel(other).await.unwrap();
    // The events after `queued` are those of its start.
    let mut watch = engine.watch(run, last + 1).await.unwrap();
    watch.next().await.unwrap().unwrap();
    engine.cancel(run).await.unwrap();
    let records = events(&engine, run).await;
    assert_eq!(records[..before.len()], before);
    assert!(is_queued(&records[before.len()], other, 1));
    let Event::Started(started) = &records[before.len() + 1].event else { panic!("{records:?}") };
    assert!(started.resumed.is_some());
    assert_eq!(ending(&records).state, RunState::Cancelled);
}

#[tokio::test]
async fn a_run_that_is_cancelled_at_its_turn_does_not_start() {
    let engine = engine(&memory().await).await;
    let first = train(&engine, endless()).await.unwrap();
    let second = queue(&engine, short()).await;
    engine.cancel(first).await.unwrap();
    // When the end of the first run is reported, the second has the slot.
    events(&engine, first).await;
    engine.cancel(second).await.unwrap();
    let records = events(&engine, second).await;
    assert_eq!((records.len(), ending(&records).state), (2, RunState::Cancelled));
    let third = train(&engine, short()).await.unwrap();
    assert_eq!(ending(&events(&engine, third).await).state, RunState::Completed);
}

#[tokio::test]
async fn a_full_queue_rejects_with_an_error() {
    let engine = engine(&memory().await).await;
    let first = train(&engine, endless()).await.unwrap();
    let mut waiting = Vec::new();
    for _ in 0..16 {
        waiting.push(queue(&engine, short()).await);
    }
    let full = begin(&engine, short(), WhenBusy::Wait).await;
    assert!(matches!(full, Err(Error::QueueFull { queue: "runs", .. })), "{full:?}");
    for run in waiting.into_iter().chain([first]) {
        engine.cancel(run).await.unwrap();
        events(&engine, run).await;
    }
    assert_eq!(ending(&events(&engine, queue(&engine, short()).await).await).state, RunState::Completed);
}

#[tokio::test]
async fn a_queued_run_without_data_fails_and_releases_the_slot() {
    let engine = engine(&memory().await).await;
    let first = train(&engine, endless()).await.unwrap();
    // MNIST is not on this machine.
    let (second, third) = (queue(&engine, TrainConfig::default()).await, queue(&engine, short()).await);
    engine.cancel(first).await.unwrap();
    let records = events(&engine, second).await;
    assert_eq!(ending(&records).reason, FinishReason::Failed);
    assert!(ending(&records).message.contains("digitd data fetch"), "{:?}", ending(&records));
    assert_eq!(ending(&events(&engine, third).await).state, RunState::Completed);
}

#[tokio::test]
async fn a_run_left_in_the_queue_by_its_server_is_reported_as_interrupted() {
    let registry = memory().await;
    let config = Box::new(short());
    let queued = Event::Queued(crate::train::RunQueued { behind: RunId::new(), position: 1, config });
    let run = store_killed_run(&registry, &short(), queued).await;
    let engine = engine(&registry).await;
    let records = events(&engine, run).await;
    assert_eq!(ending(&records).message, "the server ended before the run began");
    assert_eq!(engine.run(run).await.unwrap().state, RunState::Interrupted);
}

#[tokio::test]
async fn a_plan_checks_the_version_to_start_from_and_the_run_to_resume() {
    let registry = memory().await;
    let engine = engine(&registry).await;
    let digits = testing::digits();
    testing::publish(&registry, &weights()).await;
    let initial = Some(VersionRef { model: digits.clone(), version: Version::FIRST });
    let fitting = TrainConfig { initial: initial.clone(), ..short() };
    planned(&engine, fitting, None).await.unwrap();
    let other = TrainConfig { initial, network: NetworkConfig::deep(), ..short() };
    let (refused, trained) =
        (super::planned(&engine, other.clone(), None).await, train(&engine, other).await);
    let (Err(refused), Err(trained)) = (refused, trained) else { panic!("the weights do not fit") };
    assert!(matches!(&refused, Error::InvalidField(invalid) if invalid.field == "initial"), "{refused:?}");
    assert_eq!(refused.to_string(), trained.to_string());
    let second = Some(VersionRef { model: digits, version: Version::try_from(2).unwrap() });
    let missing = planned(&engine, TrainConfig { initial: second, ..short() }, None).await;
    assert!(matches!(missing, Err(Error::VersionNotFound { .. })), "{missing:?}");

    let run = train(&engine, short()).await.unwrap();
    let records = events(&engine, run).await;
    let over = planned(&engine, short(), Some(run)).await;
    assert!(matches!(over, Err(Error::NotResumable { reason: "RUN_COMPLETED", .. })), "{over:?}");
    let (plan, _) = planned(&engine, TrainConfig { epochs: 5, ..short() }, Some(run)).await.unwrap();
    assert_eq!(plan.total_steps, 20);
    assert_eq!(events(&engine, run).await, records, "nothing was begun");
}

#[tokio::test]
async fn a_plan_says_what_would_be_run_and_starts_nothing() {
    let engine = engine(&memory().await).await;
    let first = train(&engine, endless()).await.unwrap();
    let (plan, device) = planned(&engine, short(), None).await.unwrap();
    assert_eq!((plan.train_images, plan.validation_images, plan.total_steps), (200, 50, 8));
    assert_eq!((plan.config, device.as_str()), (short(), "cpu"));
    let rejected = planned(&engine, TrainConfig { epochs: 0, ..short() }, None).await;
    assert!(matches!(rejected, Err(Error::InvalidField(invalid)) if invalid.field == "epochs"));
    let missing = planned(&engine, TrainConfig::default(), None).await;
    assert!(matches!(missing, Err(Error::DatasetUnavailable { .. })), "{missing:?}");
    assert!(matches!(planned(&engine, endless(), Some(first)).await, Err(Error::NotResumable { .. })));
    assert_eq!(engine.runs(RunPage { size: 9, ..RunPage::default() }).await.unwrap().items.len(), 1);
    engine.cancel(first).await.unwrap();
    events(&engine, first).await;
}
