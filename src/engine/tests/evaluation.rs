//! Evaluations: their progress, their end if the caller disconnects, and the gate before an alias.

use super::*;
use crate::{data::Catalog, metric::Requirement};

pub(super) async fn evaluate(engine: &Engine, job: EvaluateJob) -> Result<EvaluationReport, Error> {
    engine.evaluate(job, watch::channel(EvaluationProgress::default()).0).await
}

/// An engine with one trained version.
async fn trained() -> Engine {
    let engine = engine(&memory().await).await;
    let run = train(&engine, short()).await.unwrap();
    events(&engine, run).await;
    engine
}

fn gated(requirement: &str, expected: Precondition) -> EvaluateJob {
    let requirements = vec![requirement.parse::<Requirement>().unwrap()];
    let promotion =
        Some(Promotion { alias: Alias::production(), expected, note: AuditNote::new("ana", "measured") });
    let job =
        EvaluateJob::of(ModelRef { which: VersionSelector::Alias(Alias::latest()), ..ModelRef::default() });
    EvaluateJob { split: Split::Validation, gate: Gate { requirements, promotion }, ..job }
}

#[tokio::test]
async fn an_evaluation_without_a_caller_stops_between_two_batches() {
    let engine = trained().await;
    let (reporter, mut progress) = watch::channel(EvaluationProgress::default());
    let job = EvaluateJob { batch_size: 1, ..EvaluateJob::of(ModelRef::default()) };
    let mut evaluating = Box::pin(engine.evaluate(job, reporter));
    // The first images are classified, then the caller disconnects.
    loop {
        tokio::select! {
            ended = &mut evaluating => panic!("it ended: {ended:?}"),
            changed = progress.changed() => changed.unwrap(),
        }
        if progress.borrow_and_update().images > 0 {
            break;
        }
    }
    drop(evaluating);
    // The job drops its sender when it ends.
    while progress.changed().await.is_ok() {}
    let last = *progress.borrow();
    assert!(last.total == 10_000 && last.images < last.total, "{last:?}");
    let job = EvaluateJob { split: Split::Validation, ..EvaluateJob::of(ModelRef::default()) };
    assert_eq!(evaluate(&engine, job).await.unwrap().measures.confusion.total(), 50);
}

#[tokio::test]
async fn progress_counts_every_image_of_every_pass() {
    let engine = trained().await;
    let (reporter, progress) = watch::channel(EvaluationProgress::default());
    let latest = ModelRef { which: VersionSelector::Alias(Alias::latest()), ..ModelRef::default() };
    let job = EvaluateJob { compare_to: Some(latest.clone()), ..EvaluateJob::of(latest) };
    let job = EvaluateJob { split: Split::Train, fit_temperature: true, batch_size: 30, ..job };
    let evaluated = engine.evaluate(job, reporter).await.unwrap();
    assert_eq!(*progress.borrow(), EvaluationProgress { images: 2 * 200 + 50, total: 2 * 200 + 50 });
    let compared = evaluated.comparison.unwrap();
    assert!(compared.paired.changed == 0 && compared.measures == evaluated.measures);
    assert_eq!(evaluated.temperature.unwrap().images, 50);
}

#[tokio::test]
async fn the_alias_moves_to_the_very_version_that_was_measured() {
    let engine = trained().await;
    let (model, alias) = (ModelName::default(), Alias::production());
    let job = gated("accuracy>=0", Precondition::Unset);
    let (reporter, mut progress) = watch::channel(EvaluationProgress::default());
    let mut evaluating = Box::pin(engine.evaluate(job, reporter));
    tokio::select! {
        ended = &mut evaluating => panic!("it ended: {ended:?}"),
        changed = progress.changed() => changed.unwrap(),
    }
    // `latest` moves while version 1 is measured.
    let manifest = engine.registry().manifest(&model, Version::FIRST).await.unwrap();
    let second = testing::publish(engine.registry(), &weights()).await;
    let to =
        AliasUpdate { version: second.version, expected: Precondition::Anything, note: AuditNote::default() };
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
async fn requirements_that_are_not_met_leave_the_alias_where_it_is() {
    let engine = trained().await;
    let rejected = evaluate(&engine, gated("loss<=0", Precondition::Anything)).await.unwrap_err();
    let Error::RequirementNotMet(unmet) = rejected else { panic!("{rejected}") };
    let FailedRequirements { failed, results, message, .. } = *unmet;
    assert_eq!((failed, results.len()), (vec![0], 1));
    assert!(message.contains("does not meet loss<=0 (it is ") && message.contains("production"), "{message}");
    let standing = engine.registry().alias(&ModelName::default(), &Alias::production()).await;
    assert!(matches!(standing, Err(crate::registry::Error::AliasNotFound { .. })), "{standing:?}");
    let moved = evaluate(&engine, gated("accuracy>=0", Precondition::Version(Version::FIRST))).await;
    assert!(matches!(moved, Err(Error::AliasMoved { .. })), "{moved:?}");
    let unknown = evaluate(&engine, gated("recall[10]>=0.5", Precondition::Anything)).await;
    assert!(matches!(unknown, Err(Error::InvalidField(invalid)) if invalid.field == "require[0]"));
}
