//! Several servers on one store, with all orders in which their calls can interleave: the test controls the
//! clock, the calls of each server take a time of their own, and one server starts later than the other.

use std::{collections::BTreeSet, time::Duration};

use super::{AuditNote, Error, Precondition, Registry, point, production, version};
use crate::registry::testing::{TestStore, digits, publish};

/// The duration of a call of the first and of the second server, and the delay with which each starts, in
/// milliseconds.
fn orders() -> impl Iterator<Item = ([u64; 2], [u64; 2])> {
    let paces = [[2, 2], [2, 3], [3, 2], [1, 5], [5, 1]];
    let later = (0..30).flat_map(|later| [[0, later], [later, 0]]);
    later.flat_map(move |later| paces.map(|pace| (pace, later)))
}

async fn later(milliseconds: u64) {
    // The future never completes, and the paused clock advances by itself.
    let _ = tokio::time::timeout(Duration::from_millis(milliseconds), std::future::pending::<()>()).await;
}

/// Another server whose calls take this long.
async fn server(store: &TestStore, pace: u64) -> Registry {
    store.of_another_server().await.slowed(Duration::from_millis(pace))
}

/// A store with two versions, and `production` pointing at the first.
async fn two_versions() -> TestStore {
    let store = TestStore::memory().await;
    publish(&store.registry, b"one").await;
    publish(&store.registry, b"two").await;
    point(&store.registry, 1, Precondition::Unset).await.unwrap();
    store
}

async fn check_production_is_whole(store: &TestStore) {
    let current = store.registry.alias(&digits(), &production()).await.unwrap();
    let manifest = store.registry.manifest(&digits(), current.version).await.unwrap();
    store.registry.weights(&manifest).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_alias_that_moves_to_a_version_as_it_is_deleted_never_dangles() {
    let mut outcomes = BTreeSet::new();
    for (pace, begin) in orders() {
        let store = two_versions().await;
        let (mover, deleter) = (server(&store, pace[0]).await, server(&store, pace[1]).await);
        let model = digits();
        let (moved, deleted) = tokio::join!(
            async {
                later(begin[0]).await;
                point(&mover, 2, Precondition::Anything).await
            },
            async {
                later(begin[1]).await;
                deleter.delete_version(&model, version(2)).await
            }
        );
        check_production_is_whole(&store).await;
        assert!(moved.is_err() || deleted.is_err(), "both at {pace:?} {begin:?}");
        outcomes.insert((moved.is_ok(), deleted.is_ok()));
    }
    assert!(outcomes.contains(&(true, false)) && outcomes.contains(&(false, true)), "{outcomes:?}");
}

#[tokio::test(start_paused = true)]
async fn an_alias_that_is_rolled_back_to_a_version_as_it_is_deleted_never_dangles() {
    let mut outcomes = BTreeSet::new();
    for (pace, begin) in orders() {
        let store = two_versions().await;
        point(&store.registry, 2, Precondition::Anything).await.unwrap();
        let (mover, deleter) = (server(&store, pace[0]).await, server(&store, pace[1]).await);
        let (model, alias) = (digits(), production());
        let (moved, deleted) = tokio::join!(
            async {
                later(begin[0]).await;
                mover.rollback(&model, &alias, AuditNote::default()).await
            },
            async {
                later(begin[1]).await;
                deleter.delete_version(&model, version(1)).await
            }
        );
        check_production_is_whole(&store).await;
        assert!(moved.is_err() || deleted.is_err(), "both at {pace:?} {begin:?}");
        outcomes.insert((moved.is_ok(), deleted.is_ok()));
    }
    assert!(outcomes.contains(&(true, false)) && outcomes.contains(&(false, true)), "{outcomes:?}");
}

/// The slow server finds the version before the fast one has deleted the weights, and the alias after that:
/// it must not restore the version.
#[tokio::test(start_paused = true)]
async fn two_deletions_that_race_with_an_alias_move_leave_it_valid() {
    for (pace, begin) in (24..=28).flat_map(|pace| (66..96).map(move |begin| (pace, begin))) {
        let store = two_versions().await;
        let (slow, fast) = (server(&store, 10).await, server(&store, 1).await);
        let (mover, model) = (server(&store, pace).await, digits());
        let deletions = async {
            tokio::join!(
                async {
                    later(20).await;
                    slow.delete_version(&model, version(2)).await
                },
                async {
                    later(begin).await;
                    fast.delete_version(&model, version(2)).await
                }
            )
        };
        let moving = async {
            later(4).await;
            point(&mover, 2, Precondition::Anything).await
        };
        let ((first, second), _) = tokio::join!(deletions, moving);
        assert!(first.is_err() || second.is_err(), "both at {pace} and {begin}");
        check_production_is_whole(&store).await;
    }
}

#[tokio::test]
async fn a_deletion_whose_server_died_is_completed_by_the_next_server() {
    let store = TestStore::folder().await;
    publish(&store.registry, b"one").await;
    let begun = "models/digits/versions/1/deletion";
    store.registry.store.put(&begun.into(), Vec::new()).await.unwrap();
    let digits = digits();
    let delete = || store.registry.delete_version(&digits, version(1));
    assert!(matches!(delete().await, Err(Error::VersionNotFound { .. })), "it is another's for now");
    let folder = std::path::Path::new(store.registry.url().trim_start_matches("file://"));
    let file = std::fs::File::options().write(true).open(folder.join(begun)).unwrap();
    file.set_modified(std::time::SystemTime::now() - Duration::from_secs(600)).unwrap();
    delete().await.unwrap();
    assert!(!folder.join(begun).exists());
    assert!(matches!(delete().await, Err(Error::VersionNotFound { .. })));
}
