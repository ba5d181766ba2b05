//! Evaluations: their progress, their end where nobody waits, and the gate before an alias.

use super::*;
use crate::{data::Catalog, metric::Requirement};

pub(super) async fn evaluate(engine: &Engine, job: EvaluateJob) -> Result<Evaluated, Error> {
    engine.evaluate(job, watch::channel(Progress::default()).0).await
}

/// An engine with one trained version.
async fn trained() -> Engine {
    let engine = engine(&memory().await).await;
    let run = engine.train(short()).await.unwrap();
    events(&engine, run).await;
    engine
}

fn gated(requirement: &str, expected: Expected) -> EvaluateJob {
    let requirements = vec![requirement.parse::<Requirement>().unwrap()];
    let promotion =
        Some(Promotion { alias: Alias::production(), expected, note: Note::new("ana", "measured") });
    let job = EvaluateJob::of(ModelRef { which: Which::Alias(Alias::latest()), ..ModelRef::default() });
    EvaluateJob { split: Split::Validation, gate: Gate { requirements, promotion }, ..job }
}

#[tokio::test]
async fn an_evaluation_that_nobody_waits_for_stops_between_two_batches() {
    let engine = trained().await;
    let (tell, mut told) = watch::channel(Progress::default());
    let job = EvaluateJob { batch_size: 1, ..EvaluateJob::of(ModelRef::default()) };
    let mut evaluating = Box::pin(engine.evaluate(job, tell));
    // Its first images are answered, and its caller goes away.
    loop {
        tokio::select! {
            ended = &mut evaluating => panic!("it ended: {ended:?}"),
            changed = told.changed() => changed.unwrap(),
        }
        if told.borrow_and_update().images > 0 {
            break;
        }
    }
    drop(evaluating);
    // The job lets go of its end when it is over.
    while told.changed().await.is_ok() {}
    let last = *told.borrow();
    assert!(last.total == 10_000 && last.images < last.total, "{last:?}");
    let job = EvaluateJob { split: Split::Validation, ..EvaluateJob::of(ModelRef::default()) };
    assert_eq!(evaluate(&engine, job).await.unwrap().measures.confusion.total(), 50);
}

#[tokio::test]
async fn progress_counts_every_image_of_every_pass() {
    let engine = trained().await;
    let (tell, told) = watch::channel(Progress::default());
    let latest = ModelRef { which: Which::Alias(Alias::latest()), ..ModelRef::default() };
    let job = EvaluateJob { compare_to: Some(latest.clone()), ..EvaluateJob::of(latest) };
    let job = EvaluateJob { split: Split::Train, fit_temperature: true, batch_size: 30, ..job };
    let evaluated = engine.evaluate(job, tell).await.unwrap();
    assert_eq!(*told.borrow(), Progress { images: 2 * 200 + 50, total: 2 * 200 + 50 });
    let compared = evaluated.comparison.unwrap();
    assert!(compared.contest.changed == 0 && compared.measures == evaluated.measures);
    assert_eq!(evaluated.temperature.unwrap().images, 50);
}

#[tokio::test]
async fn the_alias_moves_to_the_very_version_that_was_measured() {
    let engine = trained().await;
    let (model, alias) = (ModelName::default(), Alias::production());
    let job = gated("accuracy>=0", Expected::Unset);
    let (tell, mut told) = watch::channel(Progress::default());
    let mut evaluating = Box::pin(engine.evaluate(job, tell));
    tokio::select! {
        ended = &mut evaluating => panic!("it ended: {ended:?}"),
        changed = told.changed() => changed.unwrap(),
    }
    // `latest` moves on while version 1 is measured.
    let manifest = engine.registry().manifest(&model, Version::FIRST).await.unwrap();
    let second = testing::publish(engine.registry(), &weights()).await;
    let to = Move { version: second.version, expected: Expected::Anything, note: Note::default() };
    engine.registry().set_alias(&model, &Alias::latest(), to).await.unwrap();
    let evaluated = evaluating.await.unwrap();
    assert_eq!((evaluated.version, manifest.version), (Version::FIRST, Version::FIRST));
    let standing = engine.registry().alias(&model, &alias).await.unwrap();
    assert_eq!((standing.version, Some(&standing)), (Version::FIRST, evaluated.promoted.as_ref()));
    let evidence = standing.evidence.unwrap();
    assert_eq!((evidence.images, evidence.split), (50, Split::Validation));
    assert_eq!(evidence.results[0].measured, Some(evaluated.measures.accuracy()));
    let catalog = Catalog::new(Vec::new(), FetchPolicy::Never);
    let images = catalog.load_split(&short().dataset, ValidationSize::Count(50), Split::Validation).unwrap();
    assert_eq!(evidence.dataset_digest, images.digest());
}

#[tokio::test]
async fn what_does_not_hold_leaves_the_alias_where_it_is() {
    let engine = trained().await;
    let refused = evaluate(&engine, gated("loss<=0", Expected::Anything)).await.unwrap_err();
    let Error::RequirementNotMet(unmet) = refused else { panic!("{refused}") };
    let Unmet { failed, results, message, .. } = *unmet;
    assert_eq!((failed, results.len()), (vec![0], 1));
    assert!(message.contains("does not keep loss<=0 (it is ") && message.contains("production"), "{message}");
    let standing = engine.registry().alias(&ModelName::default(), &Alias::production()).await;
    assert!(matches!(standing, Err(crate::registry::Error::AliasNotFound { .. })), "{standing:?}");
    let moved = evaluate(&engine, gated("accuracy>=0", Expected::Version(Version::FIRST))).await;
    assert!(matches!(moved, Err(Error::AliasMoved { .. })), "{moved:?}");
    let unknown = evaluate(&engine, gated("recall[10]>=0.5", Expected::Anything)).await;
    assert!(matches!(unknown, Err(Error::InvalidField { field, .. }) if field == "require[0]"));
}
