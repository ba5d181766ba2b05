//! Runs seen from outside while they train, wait and have ended.

use super::*;

/// The contents of these layers, over a sample.
pub fn contents(layers: &[&str], sample_images: usize) -> Depth {
    Depth::Contents {
        layers: layers.iter().map(|&name| name.to_owned()).collect(),
        channels: Channels::Random(0),
        sample_images: Some(sample_images),
        histogram_bins: 0,
        most_numbers: 1 << 20,
    }
}

/// Of the default version.
pub fn inspection(depth: Depth) -> InspectJob {
    InspectJob {
        target: Target::Model(ModelRef::default()),
        input: InspectInput::Default,
        batch_size: 1,
        depth,
        study: StudyJob::default(),
        health: None,
    }
}

async fn look(engine: &Engine, run: RunId) -> Result<Inspected, Error> {
    let input = InspectInput::Picture(vec![0.5; 784]);
    engine.inspect(InspectJob { target: Target::Run(run), input, ..inspection(contents(&[], 0)) }).await
}

async fn values(engine: &Engine, target: Target) -> Values {
    engine.parameters(ParametersJob { target, names: Vec::new() }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_trains_shows_its_newest_weights_and_goes_on() {
    let engine = engine(&memory().await).await;
    let run = engine.train(endless()).await.unwrap();
    first_batch(&engine, run).await;
    let mut last = 0;
    for _ in 0..3 {
        let shown = look(&engine, run).await.unwrap();
        let moment = shown.shown.run.unwrap();
        assert_eq!(
            (moment.run, moment.state, moment.origin),
            (run, RunState::Running, WeightsOrigin::Training)
        );
        assert_eq!((shown.shown.version, shown.report.total_parameters), (None, 20_350));
        // Four batches an epoch.
        let at = moment.at;
        assert_eq!((at.epoch, at.batch), ((at.step - 1) / 4 + 1, (at.step - 1) % 4 + 1));
        // Who asks while an epoch is validated sees its last step again.
        assert!(at.step >= last, "step {} after {last}", at.step);
        last = at.step;
    }
    let (shown, first) = values(&engine, Target::Run(run)).await;
    let seen = shown.run.unwrap().at;
    let later = loop {
        let (shown, later) = values(&engine, Target::Run(run)).await;
        if shown.run.unwrap().at != seen {
            break later;
        }
    };
    assert_ne!(first, later, "the run went on between the two");
    engine.cancel(run).await.unwrap();
    events(&engine, run).await;

    // It ended without a version: its checkpoint is what there is.
    let shown = look(&engine, run).await.unwrap();
    let moment = shown.shown.run.unwrap();
    assert_eq!((moment.state, moment.origin), (RunState::Cancelled, WeightsOrigin::Checkpoint));
    let told = engine.run(run).await.unwrap();
    assert!(moment.at.step >= last && moment.at.step >= told.step, "{moment:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_looked_at_ends_with_the_bytes_of_one_that_is_not() {
    let registry = memory().await;
    let engine = engine(&registry).await;
    let config = TrainConfig { epochs: 6, ..short() };
    let run = engine.train(config.clone()).await.unwrap();
    first_batch(&engine, run).await;
    let mut looks = 0;
    loop {
        let moment = look(&engine, run).await.unwrap().shown.run.unwrap();
        match moment.origin {
            WeightsOrigin::Training => looks += 1,
            WeightsOrigin::Version => break,
            WeightsOrigin::Checkpoint => panic!("a run that publishes shows its version"),
        }
    }
    assert!(looks > 0, "the run was over before it was looked at");
    let again = engine.train(config.clone()).await.unwrap();
    events(&engine, again).await;
    let weights = async |number: i64| {
        let manifest = registry.manifest(&config.model, number.try_into().unwrap()).await.unwrap();
        manifest.weights_sha256
    };
    assert_eq!(weights(1).await, weights(2).await, "looked at {looks} times");

    let (shown, values_of_run) = values(&engine, Target::Run(run)).await;
    assert_eq!((shown.version, shown.run.unwrap().state), (Some(Version::FIRST), RunState::Completed));
    let version = ModelRef { which: Which::Version(Version::FIRST), ..ModelRef::default() };
    assert_eq!(values_of_run, values(&engine, Target::Model(version)).await.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_without_weights_say_why() {
    let engine = engine(&memory().await).await;
    let missing = RunId::new();
    assert!(matches!(look(&engine, missing).await, Err(Error::RunNotFound(run)) if run == missing));
    let first = engine.train(endless()).await.unwrap();
    let waiting = engine.begin(short(), WhenBusy::Wait).await.unwrap();
    let refused = look(&engine, waiting).await;
    assert!(
        matches!(refused, Err(Error::RunWithoutWeights { run, reason: "RUN_NOT_STARTED", .. }) if run == waiting),
        "{refused:?}"
    );
    engine.cancel(waiting).await.unwrap();
    events(&engine, waiting).await;
    let refused = look(&engine, waiting).await;
    assert!(
        matches!(refused, Err(Error::RunWithoutWeights { reason: "RUN_WITHOUT_WEIGHTS", .. })),
        "{refused:?}"
    );
    engine.cancel(first).await.unwrap();
    events(&engine, first).await;
}
