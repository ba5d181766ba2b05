//! Servers on one store, in the orders in which their calls can follow each other: the clock is the
//! test's own, each server's calls take a time of their own, and one begins later than the other.

use std::{collections::BTreeSet, time::Duration};

use super::{Expected, Registry, point, production, version};
use crate::registry::testing::{TestStore, digits, publish};

/// How long a call of the first and of the second takes, and how much later each begins, in milliseconds.
fn orders() -> impl Iterator<Item = ([u64; 2], [u64; 2])> {
    let paces = [[2, 2], [2, 3], [3, 2], [1, 5], [5, 1]];
    let later = (0..30).flat_map(|later| [[0, later], [later, 0]]);
    later.flat_map(move |later| paces.map(|pace| (pace, later)))
}

async fn later(milliseconds: u64) {
    // It never comes, and the clock goes on by itself.
    let _ = tokio::time::timeout(Duration::from_millis(milliseconds), std::future::pending::<()>()).await;
}

/// Another server, whose calls take so long.
async fn server(store: &TestStore, pace: u64) -> Registry {
    store.of_another_server().await.slowed(Duration::from_millis(pace))
}

/// A store with two versions, `production` at the first.
async fn two_versions() -> TestStore {
    let store = TestStore::memory().await;
    publish(&store.registry, b"one").await;
    publish(&store.registry, b"two").await;
    point(&store.registry, 1, Expected::Unset).await.unwrap();
    store
}

async fn check_production_is_whole(store: &TestStore) {
    let standing = store.registry.alias(&digits(), &production()).await.unwrap();
    let manifest = store.registry.manifest(&digits(), standing.version).await.unwrap();
    store.registry.weights(&manifest).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_alias_that_moves_to_a_version_as_it_is_deleted_never_dangles() {
    let mut seen = BTreeSet::new();
    for (pace, begin) in orders() {
        let store = two_versions().await;
        let (mover, deleter) = (server(&store, pace[0]).await, server(&store, pace[1]).await);
        let model = digits();
        let (moved, deleted) = tokio::join!(
            async {
                later(begin[0]).await;
                point(&mover, 2, Expected::Anything).await
            },
            async {
                later(begin[1]).await;
                deleter.delete_version(&model, version(2)).await
            }
        );
        check_production_is_whole(&store).await;
        assert!(moved.is_err() || deleted.is_err(), "both at {pace:?} {begin:?}");
        seen.insert((moved.is_ok(), deleted.is_ok()));
    }
    assert!(seen.contains(&(true, false)) && seen.contains(&(false, true)), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn two_that_delete_and_one_that_moves_an_alias_leave_it_whole() {
    for (pace, begin) in orders() {
        for mover in [0, begin[0].max(begin[1]) / 2, 9, 18] {
            let store = two_versions().await;
            let (first, second) = (server(&store, pace[0]).await, server(&store, pace[1]).await);
            let (third, model) = (server(&store, 2).await, digits());
            let (_, _, _) = tokio::join!(
                async {
                    later(begin[0]).await;
                    first.delete_version(&model, version(2)).await
                },
                async {
                    later(begin[1]).await;
                    second.delete_version(&model, version(2)).await
                },
                async {
                    later(mover).await;
                    point(&third, 2, Expected::Anything).await
                }
            );
            check_production_is_whole(&store).await;
        }
    }
}
