//! Inspecting runs while they train, while they wait, and after they have ended.

use super::*;

/// Requests the contents of these layers, over a sample.
pub fn contents(layers: &[&str], sample_images: usize) -> Depth {
    Depth::Contents {
        layers: layers.iter().map(|&name| name.to_owned()).collect(),
        channels: Channels::Random(0),
        sample_images: Some(sample_images),
        histogram_bins: 0,
        max_values: 1 << 20,
    }
}

/// Inspects the default version.
pub fn inspection(depth: Depth) -> InspectJob {
    InspectJob {
        target: Target::Model(ModelRef::default()),
        input: InspectInput::Default,
        batch_size: 1,
        depth,
        attributions: AttributionRequest::default(),
        health: None,
    }
}

async fn inspect_run(engine: &Engine, run: RunId) -> Result<Inspection, Error> {
    let input = InspectInput::Image(vec![0.5; 784]);
    engine.inspect(InspectJob { target: Target::Run(run), input, ..inspection(contents(&[], 0)) }).await
}

async fn values(engine: &Engine, target: Target) -> ParametersReport {
    engine.parameters(ParametersJob { target, names: Vec::new() }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_training_run_is_inspected_with_its_newest_weights_and_continues() {
    let engine = engine(&memory().await).await;
    let run = train(&engine, endless()).await.unwrap();
    first_batch(&engine, run).await;
    let mut last = 0;
    for _ in 0..3 {
        let found = inspect_run(&engine, run).await.unwrap();
        let moment = found.subject.run.unwrap();
        assert_eq!(
            (moment.run, moment.state, moment.origin),
            (run, RunState::Running, WeightsOrigin::Training)
        );
        assert_eq!((found.subject.version, found.report.total_parameters), (None, 20_350));
        // There are four batches per epoch.
        let at = moment.at;
        assert_eq!((at.epoch, at.batch), ((at.step - 1) / 4 + 1, (at.step - 1) % 4 + 1));
        // Requests during the validation of an epoch get its last step again.
        assert!(at.step >= last, "step {} after {last}", at.step);
        last = at.step;
    }
    let ParametersReport { subject, parameters: first } = values(&engine, Target::Run(run)).await;
    let first_step = subject.run.unwrap().at;
    let later = loop {
        let ParametersReport { subject, parameters: later } = values(&engine, Target::Run(run)).await;
        if subject.run.unwrap().at != first_step {
            break later;
        }
    };
    assert_ne!(first, later, "the run went on between the two");
    engine.cancel(run).await.unwrap();
    events(&engine, run).await;

    // The run ended without a version, so its checkpoint is shown.
    let found = inspect_run(&engine, run).await.unwrap();
    let moment = found.subject.run.unwrap();
    assert_eq!((moment.state, moment.origin), (RunState::Cancelled, WeightsOrigin::Checkpoint));
    let summary = engine.run(run).await.unwrap();
    assert!(moment.at.step >= last && moment.at.step >= summary.step, "{moment:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_inspected_ends_with_the_bytes_of_one_that_is_not() {
    let registry = memory().await;
    let engine = engine(&registry).await;
    let config = TrainConfig { epochs: 6, ..short() };
    let run = train(&engine, config.clone()).await.unwrap();
    first_batch(&engine, run).await;
    let mut inspections = 0;
    loop {
        let moment = inspect_run(&engine, run).await.unwrap().subject.run.unwrap();
        match moment.origin {
            WeightsOrigin::Training => inspections += 1,
            WeightsOrigin::Version => break,
            WeightsOrigin::Checkpoint => panic!("a run that publishes shows its version"),
        }
    }
    assert!(inspections > 0, "the run was over before it was inspected");
    let again = train(&engine, config.clone()).await.unwrap();
    events(&engine, again).await;
    let weights = async |number: i64| {
        let manifest = registry.manifest(&config.model, number.try_into().unwrap()).await.unwrap();
        manifest.weights_sha256
    };
    assert_eq!(weights(1).await, weights(2).await, "inspected {inspections} times");

    let ParametersReport { subject, parameters: values_of_run } = values(&engine, Target::Run(run)).await;
    assert_eq!((subject.version, subject.run.unwrap().state), (Some(Version::FIRST), RunState::Completed));
    let version = ModelRef { which: VersionSelector::Version(Version::FIRST), ..ModelRef::default() };
    assert_eq!(values_of_run, values(&engine, Target::Model(version)).await.parameters);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_without_weights_say_why() {
    let engine = engine(&memory().await).await;
    let missing = RunId::new();
    assert!(matches!(inspect_run(&engine, missing).await, Err(Error::RunNotFound(run)) if run == missing));
    let first = train(&engine, endless()).await.unwrap();
    let waiting = begin(&engine, short(), WhenBusy::Wait).await.unwrap();
    let rejected = inspect_run(&engine, waiting).await;
    assert!(
        matches!(rejected, Err(Error::RunWithoutWeights { run, reason: "RUN_NOT_STARTED", .. }) if run == waiting),
        "{rejected:?}"
    );
    engine.cancel(waiting).await.unwrap();
    events(&engine, waiting).await;
    let rejected = inspect_run(&engine, waiting).await;
    assert!(
        matches!(rejected, Err(Error::RunWithoutWeights { reason: "RUN_WITHOUT_WEIGHTS", .. })),
        "{rejected:?}"
    );
    engine.cancel(first).await.unwrap();
    events(&engine, first).await;
}
