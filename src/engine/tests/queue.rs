//! Runs that wait for the slot, and requests that are only looked at.

use super::*;

async fn queue(engine: &Engine, config: TrainConfig) -> RunId {
    engine.begin(config, WhenBusy::Wait).await.unwrap()
}

fn is_queued(record: &Record, after: RunId, place: u32) -> bool {
    matches!(&record.event, Event::Queued(queued) if (queued.behind, queued.position) == (after, place))
}

#[tokio::test]
async fn runs_that_wait_get_the_slot_in_their_order_and_their_logs_have_no_gap() {
    let engine = engine(&memory().await).await;
    let first = queue(&engine, endless()).await;
    let (second, third) = (queue(&engine, short()).await, queue(&engine, short()).await);
    for waiting in [second, third] {
        assert_eq!(engine.run(waiting).await.unwrap().state, RunState::Queued);
    }
    let busy = engine.train(short()).await;
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
        !matches!(events(&engine, first).await[0].event, Event::Queued(_)),
        "a free slot is taken at once"
    );
}

#[tokio::test]
async fn a_run_that_waits_can_be_cancelled_and_the_next_one_gets_its_turn() {
    let engine = engine(&memory().await).await;
    let first = engine.train(endless()).await.unwrap();
    let (second, third) = (queue(&engine, short()).await, queue(&engine, short()).await);
    engine.cancel(second).await.unwrap();
    let records = events(&engine, second).await;
    assert_eq!((records.len(), ending(&records).state), (2, RunState::Cancelled));
    assert_eq!(engine.run(second).await.unwrap().state, RunState::Cancelled);
    let resumed = engine.resume(second, short(), WhenBusy::Wait).await;
    assert!(matches!(resumed, Err(Error::NotResumable { reason: "CHECKPOINT_MISSING", .. })), "{resumed:?}");
    engine.cancel(first).await.unwrap();
    assert_eq!(ending(&events(&engine, third).await).state, RunState::Completed);
}

#[tokio::test]
async fn a_shutdown_ends_the_runs_that_wait_and_a_restart_tells_so() {
    for (registry, _folder) in testing::stores().await {
        let first = engine(&registry).await;
        let run = first.train(endless()).await.unwrap();
        let waiting = queue(&first, short()).await;
        first_batch(&first, run).await;
        first.shutdown().await;
        assert!(matches!(first.begin(short(), WhenBusy::Wait).await, Err(Error::Draining)));
        let records = events(&first, waiting).await;
        assert_eq!(ending(&records).state, RunState::Interrupted);
        assert_eq!(ending(&records).message, "the server went down before the run began");
        drop(first);
        let second = engine(&registry).await;
        assert_eq!(events(&second, waiting).await, records);
        assert_eq!(second.run(waiting).await.unwrap().state, RunState::Interrupted);
    }
}

#[tokio::test]
async fn a_full_queue_is_an_answer() {
    let engine = engine(&memory().await).await;
    let first = engine.train(endless()).await.unwrap();
    let mut waiting = Vec::new();
    for _ in 0..16 {
        waiting.push(queue(&engine, short()).await);
    }
    let full = engine.begin(short(), WhenBusy::Wait).await;
    assert!(matches!(full, Err(Error::QueueFull { queue: "runs", .. })), "{full:?}");
    for run in waiting.into_iter().chain([first]) {
        engine.cancel(run).await.unwrap();
        events(&engine, run).await;
    }
    assert_eq!(ending(&events(&engine, queue(&engine, short()).await).await).state, RunState::Completed);
}

#[tokio::test]
async fn a_run_whose_turn_finds_no_data_fails_and_gives_the_slot_on() {
    let engine = engine(&memory().await).await;
    let first = engine.train(endless()).await.unwrap();
    // MNIST is not on this machine.
    let (second, third) = (queue(&engine, TrainConfig::default()).await, queue(&engine, short()).await);
    engine.cancel(first).await.unwrap();
    let records = events(&engine, second).await;
    assert_eq!(ending(&records).reason, FinishReason::Failed);
    assert!(ending(&records).message.contains("digitd data fetch"), "{:?}", ending(&records));
    assert_eq!(ending(&events(&engine, third).await).state, RunState::Completed);
}

#[tokio::test]
async fn a_run_that_its_server_left_waiting_is_told_as_interrupted() {
    let registry = memory().await;
    let run = RunId::new();
    let config = Box::new(short());
    let opening = log::Opening {
        run,
        presence: Arc::new(owner::Presence::killed()),
        fold: summary::Fold::new(run, short(), Utc::now()),
        stop: Arc::default(),
        at_end: Box::new(|| {}),
    };
    let queued = Event::Queued(crate::train::Queued { behind: RunId::new(), position: 1, config });
    let _kept = log::RunLog::start(registry.runs(), opening, queued).await.unwrap();
    let engine = engine(&registry).await;
    let records = events(&engine, run).await;
    assert_eq!(ending(&records).message, "the server ended before the run began");
    assert_eq!(engine.run(run).await.unwrap().state, RunState::Interrupted);
}

#[tokio::test]
async fn a_plan_tells_what_would_be_run_and_starts_nothing() {
    let engine = engine(&memory().await).await;
    let first = engine.train(endless()).await.unwrap();
    let (plan, device) = engine.plan(short(), None).await.unwrap();
    assert_eq!((plan.train_images, plan.validation_images, plan.total_steps), (200, 50, 8));
    assert_eq!((plan.config, device.as_str()), (short(), "cpu"));
    let refused = engine.plan(TrainConfig { epochs: 0, ..short() }, None).await;
    assert!(matches!(refused, Err(Error::InvalidField { field, .. }) if field == "epochs"));
    let missing = engine.plan(TrainConfig::default(), None).await;
    assert!(matches!(missing, Err(Error::DatasetUnavailable { .. })), "{missing:?}");
    assert!(matches!(engine.plan(endless(), Some(first)).await, Err(Error::NotResumable { .. })));
    assert_eq!(engine.runs(RunPage { size: 9, ..RunPage::default() }).await.unwrap().items.len(), 1);
    engine.cancel(first).await.unwrap();
    events(&engine, first).await;
}
