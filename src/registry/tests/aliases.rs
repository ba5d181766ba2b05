//! Aliases: where they point, who may move them, and what their history keeps.

use super::{default_version, numbers, overwrite, point, production, version};
use crate::{
    data::{DatasetSpec, Split},
    ids::{Alias, Version},
    registry::{
        AliasUpdate, AuditNote, Error, Evidence, ModelRef, Precondition, Registry, RequirementResult,
        VersionSelector,
        aliases::assignment_path,
        testing::{TestStore, digits, publish},
    },
};

pub async fn a_default_reference_means_production_once_that_was_set(store: TestStore) {
    let registry = &store.registry;
    publish(registry, b"one").await;
    publish(registry, b"two").await;
    assert_eq!(default_version(registry).await, 2);
    point(registry, 1, Precondition::Unset).await.unwrap();
    assert_eq!(default_version(registry).await, 1);
    let latest = ModelRef { name: digits(), which: VersionSelector::Alias(Alias::latest()) };
    assert!(matches!(registry.resolve(&latest).await, Err(Error::AliasNotFound { .. })));
}

pub async fn an_alias_moves_only_from_where_it_is_expected(store: TestStore) {
    let registry = &store.registry;
    publish(registry, b"one").await;
    publish(registry, b"two").await;
    let to_nothing = point(registry, 3, Precondition::Anything).await;
    assert!(matches!(to_nothing, Err(Error::VersionNotFound { .. })), "{to_nothing:?}");
    point(registry, 1, Precondition::Unset).await.unwrap();
    let again = point(registry, 2, Precondition::Unset).await;
    let found = Some(Version::FIRST);
    assert!(matches!(again, Err(Error::AliasMoved { found: f, .. }) if f == found), "{again:?}");
    let moved = point(registry, 2, Precondition::Version(version(1))).await.unwrap();
    assert_eq!((moved.number, moved.previous), (2, Some(version(1))));
    assert_eq!(point(registry, 2, Precondition::Anything).await.unwrap(), moved);
}

pub async fn one_of_several_racing_alias_moves_succeeds(store: TestStore) {
    let registry = &store.registry;
    for index in 1..=8u8 {
        publish(registry, &[index]).await;
    }
    point(registry, 1, Precondition::Unset).await.unwrap();
    let mut racing = tokio::task::JoinSet::new();
    for target in 2..=8 {
        // Each has a lock of its own, as if in another process.
        let registry = Registry { changes: Default::default(), ..registry.clone() };
        racing.spawn(async move { point(&registry, target, Precondition::Version(version(1))).await });
    }
    let won = racing.join_all().await.into_iter().filter(Result::is_ok).count();
    assert_eq!(won, 1);
    assert_eq!(registry.alias_history(&digits(), &production()).await.unwrap().len(), 2);
}

pub async fn a_rollback_points_to_the_version_before(store: TestStore) {
    let registry = &store.registry;
    publish(registry, b"one").await;
    publish(registry, b"two").await;
    point(registry, 1, Precondition::Unset).await.unwrap();
    let nothing = registry.rollback(&digits(), &production(), AuditNote::default()).await;
    assert!(matches!(nothing, Err(Error::NothingBefore { .. })), "{nothing:?}");
    point(registry, 2, Precondition::Anything).await.unwrap();
    let back = registry.rollback(&digits(), &production(), AuditNote::new("bo", "worse")).await.unwrap();
    assert_eq!((back.version, back.number, back.reason.as_str()), (version(1), 3, "worse"));
    let history = registry.alias_history(&digits(), &production()).await.unwrap();
    assert_eq!(history.iter().map(|a| a.version.get()).collect::<Vec<_>>(), [1, 2, 1]);
}

pub async fn a_damaged_alias_hides_no_model_and_keeps_versions_from_deletion(store: TestStore) {
    let registry = &store.registry;
    publish(registry, b"one").await;
    point(registry, 1, Precondition::Unset).await.unwrap();
    let damaged: Alias = "beta".parse().unwrap();
    overwrite(registry, &assignment_path(&digits(), &damaged, 1), b"{").await;
    let [model] = &registry.models().await.unwrap()[..] else { panic!("one model") };
    assert_eq!(model.aliases, [(production(), Version::FIRST)]);
    publish(registry, b"two").await;
    let deleted = registry.delete_version(&digits(), version(2)).await;
    assert!(matches!(deleted, Err(Error::Corrupt { .. })), "{deleted:?}");
    let followed = registry.alias(&digits(), &damaged).await;
    assert!(matches!(followed, Err(Error::Corrupt { .. })), "{followed:?}");
}

pub async fn an_alias_records_who_moved_it_and_why(store: TestStore) {
    let registry = &store.registry;
    publish(registry, b"one").await;
    publish(registry, b"two").await;
    let long = AuditNote::new("b".repeat(201), "w".repeat(1001));
    for (to, note) in [(1, AuditNote::new("ana", "first")), (2, long)] {
        let to = AliasUpdate { version: version(to), expected: Precondition::Anything, note };
        registry.set_alias(&digits(), &production(), to).await.unwrap();
    }
    registry.rollback(&digits(), &production(), AuditNote::new("cleo", "worse")).await.unwrap();
    let history = registry.alias_history(&digits(), &production()).await.unwrap();
    let who: Vec<_> = history.iter().map(|it| (it.number, &*it.by, &*it.reason)).collect();
    assert_eq!(who, [(3, "cleo", "worse"), (2, &*"b".repeat(200), &*"w".repeat(1000)), (1, "ana", "first")]);
    let path = assignment_path(&digits(), &production(), 4);
    let before = r#"{"number":4,"version":2,"previous":1,"time":"2026-01-01T00:00:00Z","reason":"older"}"#;
    overwrite(registry, &path, before.as_bytes()).await;
    let older = registry.alias(&digits(), &production()).await.unwrap();
    assert_eq!((older.by.as_str(), older.evidence), ("", None));
}

pub async fn an_alias_records_the_measurements_of_its_version(store: TestStore) {
    let registry = &store.registry;
    publish(registry, b"one").await;
    publish(registry, b"two").await;
    let result =
        |requirement: &str, measured| RequirementResult { requirement: requirement.to_owned(), measured };
    let evidence = Evidence {
        results: vec![result("accuracy>=0.99", Some(0.1 + 0.2)), result("of a newer digitd", None)],
        dataset: DatasetSpec::whole("mnist".parse().unwrap()),
        split: Split::Test,
        dataset_digest: "ab".repeat(32),
        images: 10_000,
    };
    let note = AuditNote { evidence: Some(evidence.clone()), ..AuditNote::new("ana", "better") };
    let to = AliasUpdate { version: version(1), expected: Precondition::Unset, note };
    registry.set_alias(&digits(), &production(), to).await.unwrap();
    point(registry, 2, Precondition::Anything).await.unwrap();
    let history = registry.alias_history(&digits(), &production()).await.unwrap();
    assert_eq!((&history[0].evidence, &history[1].evidence), (&None, &Some(evidence)));
    let bytes =
        registry.store.get(&assignment_path(&digits(), &production(), 2), 9999).await.unwrap().unwrap();
    assert!(!String::from_utf8(bytes.to_vec()).unwrap().contains("evidence"), "nothing is written of none");
}

pub async fn an_alias_never_ends_on_a_version_that_another_server_deletes(store: TestStore) {
    let (registry, other) = (&store.registry, store.of_another_server().await);
    publish(registry, b"first").await;
    point(registry, 1, Precondition::Unset).await.unwrap();
    for round in 2..12 {
        publish(registry, b"next").await;
        let next = version(round);
        let (moved, deleted) = tokio::join!(point(registry, round, Precondition::Anything), async {
            other.delete_version(&digits(), next).await
        });
        let current = registry.alias(&digits(), &production()).await.unwrap().version;
        let manifest = registry.manifest(&digits(), current).await.unwrap();
        registry.weights(&manifest).await.unwrap();
        assert!(moved.is_ok() != deleted.is_ok() || moved.is_err(), "{moved:?} {deleted:?}");
        point(registry, 1, Precondition::Anything).await.unwrap();
    }
    assert!(numbers(registry, 20, None).await.0.contains(&1));
}
