//! The number of versions that retention keeps.

use std::num::NonZeroUsize;

use super::{numbers, overwrite, point, version};
use crate::{
    ids::{ModelName, Version},
    registry::{
        Manifest, Precondition, Registry,
        testing::{TestStore, digits, publish},
        versions::manifest_path,
    },
};

async fn prune(registry: &Registry, keep: usize, spared: impl Fn(&Manifest) -> bool) -> Vec<u32> {
    let keep = NonZeroUsize::new(keep).unwrap();
    let deleted = registry.prune(&digits(), keep, spared).await.unwrap();
    deleted.iter().map(|version| version.get()).collect()
}

pub async fn pruning_keeps_the_newest_versions_and_those_of_aliases_and_runs(store: TestStore) {
    let registry = &store.registry;
    assert_eq!(prune(registry, 1, |_| false).await, [0; 0]);
    for index in 1..=7u8 {
        publish(registry, &[index]).await;
    }
    point(registry, 2, Precondition::Unset).await.unwrap();
    // A version that cannot be read is neither counted nor deleted.
    overwrite(registry, &manifest_path(&digits(), version(6)), b"{").await;
    assert_eq!(prune(registry, 2, |manifest| manifest.version == version(3)).await, [4, 1]);
    assert_eq!(numbers(registry, 9, None).await.0, [7, 5, 3, 2]);
    assert_eq!(prune(registry, 2, |_| false).await, [3]);
    assert_eq!(prune(registry, 2, |_| false).await, [0; 0]);
    point(registry, 7, Precondition::Anything).await.unwrap();
    assert_eq!(prune(registry, 1, |_| false).await, [5, 2]);
    assert_eq!(publish(registry, b"next").await.version, version(8));
}

pub async fn pruning_during_alias_moves_keeps_every_version_with_an_alias(store: TestStore) {
    let (registry, other) = (&store.registry, store.of_another_server().await);
    for round in 0..6 {
        let first = 3 * round + 1;
        for index in 0..3u8 {
            publish(registry, &[index]).await;
        }
        let (mine, theirs, moved) = tokio::join!(
            prune(registry, 1, |_| false),
            prune(&other, 1, |_| false),
            point(&other, first, Precondition::Anything)
        );
        if moved.is_ok() {
            let manifest = registry.manifest(&digits(), version(first)).await.unwrap();
            assert_eq!(registry.weights(&manifest).await.unwrap(), [0]);
            assert!(!mine.iter().chain(&theirs).any(|deleted| i64::from(*deleted) == first));
        }
        assert!(numbers(registry, 99, None).await.0.contains(&(first as u32 + 2)));
    }
}

pub async fn pruning_one_model_leaves_other_models_unchanged(store: TestStore) {
    let registry = &store.registry;
    let letters: ModelName = "letters".parse().unwrap();
    for _ in 0..2 {
        publish(registry, b"one").await;
        registry.publish(&letters, crate::registry::testing::draft(), b"a".to_vec()).await.unwrap();
    }
    assert_eq!(prune(registry, 1, |_| false).await, [1]);
    registry.manifest(&letters, Version::FIRST).await.unwrap();
    assert_eq!(registry.model_names().await.unwrap(), [digits(), letters]);
}
