//! Versions: published once, listed, deleted, and never trusted if they are damaged.

use object_store::path::Path;

use super::{default_version, numbers, overwrite, point, version};
use crate::{
    ids::{RunId, Version},
    registry::{
        Draft, Error, ModelRef, Precondition, Registry,
        manifest::ManifestEntry,
        store::{PutOutcome, json},
        testing::{TestStore, digits, draft, publish},
        versions::{deletion_path, manifest_path, weights_path},
    },
};

pub async fn a_published_version_is_read_back_unchanged(store: TestStore) {
    let registry = &store.registry;
    assert!(matches!(registry.resolve(&ModelRef::default()).await, Err(Error::ModelNotFound(_))));
    let first = publish(registry, b"one").await;
    assert_eq!(first.version, Version::FIRST);
    assert_eq!(registry.manifest(&digits(), Version::FIRST).await.unwrap(), first);
    assert_eq!(registry.weights(&first).await.unwrap(), b"one");
    let missing = registry.manifest(&digits(), version(2)).await;
    assert!(matches!(missing, Err(Error::VersionNotFound { .. })), "{missing:?}");
}

pub async fn racing_publishers_never_share_a_version(store: TestStore) {
    let registry = &store.registry;
    let other = store.of_another_server().await;
    let mut racing = tokio::task::JoinSet::new();
    for index in 0..16u8 {
        let registry = if index % 2 == 0 { registry.clone() } else { other.clone() };
        racing
            .spawn(async move { (index, registry.publish(&digits(), draft(), vec![index]).await.unwrap()) });
    }
    let mut published = racing.join_all().await;
    published.sort_by_key(|(_, manifest)| manifest.version);
    for (at, (index, manifest)) in published.iter().enumerate() {
        assert_eq!(manifest.version, version(at as i64 + 1));
        assert_eq!(registry.weights(manifest).await.unwrap(), [*index]);
    }
}

pub async fn an_incomplete_version_is_invisible_and_swept_and_its_number_stays_used(store: TestStore) {
    let registry = &store.registry;
    publish(registry, b"one").await;
    overwrite(registry, &weights_path(&digits(), version(2)), b"half").await;
    assert_eq!(numbers(registry, 10, None).await, (vec![1], false));
    assert_eq!(default_version(registry).await, 1);
    assert_eq!(publish(registry, b"three").await.version, version(3));
    let now = chrono::Utc::now() + chrono::TimeDelta::seconds(5);
    assert_eq!(registry.sweep(now - chrono::TimeDelta::hours(1)).await.unwrap(), 0);
    assert_eq!(registry.sweep(now).await.unwrap(), 1);
    assert_eq!(numbers(registry, 10, None).await, (vec![3, 1], false));
    // The publisher was only slow: the tombstone makes its manifest invalid.
    let late =
        registry.store.put_if_absent_or_same(&manifest_path(&digits(), version(2)), b"{}".to_vec()).await;
    assert_eq!(late.unwrap(), PutOutcome::AlreadyExists);
}

pub async fn versions_are_listed_by_number_newest_first(store: TestStore) {
    let registry = &store.registry;
    for index in 1..=11u8 {
        publish(registry, &[index]).await;
    }
    assert_eq!(numbers(registry, 3, None).await, (vec![11, 10, 9], true));
    assert_eq!(numbers(registry, 3, Some(4)).await, (vec![3, 2, 1], false));
    let [model] = &registry.models().await.unwrap()[..] else { panic!("one model") };
    assert_eq!((model.newest.get(), model.versions), (11, 11));
}

pub async fn damaged_weights_are_reported_and_not_returned(store: TestStore) {
    let registry = &store.registry;
    let manifest = publish(registry, b"weights").await;
    let path = weights_path(&digits(), Version::FIRST);
    for damage in [&b"weightz"[..], b"weight", b""] {
        overwrite(registry, &path, damage).await;
        let read = registry.weights(&manifest).await;
        assert!(matches!(read, Err(Error::Corrupt { .. })), "{read:?}");
    }
    registry.store.delete(&path).await.unwrap();
    assert!(matches!(registry.weights(&manifest).await, Err(Error::Corrupt { .. })));
}

pub async fn a_manifest_of_another_format_requires_another_digitd(store: TestStore) {
    let registry = &store.registry;
    publish(registry, b"one").await;
    let path = manifest_path(&digits(), Version::FIRST);
    let read = async |text: &str| {
        overwrite(registry, &path, text.as_bytes()).await;
        registry.manifest(&digits(), Version::FIRST).await.unwrap_err()
    };
    let newer = read(r#"{"format_version":7,"state":"elsewhere"}"#).await;
    assert!(matches!(newer, Error::UnknownFormat { found: 7, known: 1, .. }), "{newer:?}");
    assert!(
        newer.to_string().contains("has format 7, and this digitd reads 1: use a newer digitd"),
        "{newer}"
    );
    let older = read(r#"{"format_version":0,"state":"published"}"#).await;
    assert!(
        older.to_string().contains("has format 0, and this digitd reads 1: use an older digitd"),
        "{older}"
    );
    for text in ["{", "{}", r#"{"format_version":"1"}"#, r#"{"format_version":1}"#] {
        let damaged = read(text).await;
        assert!(matches!(damaged, Error::Corrupt { .. }), "{damaged:?}");
    }
}

pub async fn a_damaged_manifest_hides_no_other_version(store: TestStore) {
    let registry = &store.registry;
    for _ in 0..3 {
        publish(registry, b"one").await;
    }
    overwrite(registry, &manifest_path(&digits(), version(2)), b"{").await;
    assert_eq!(numbers(registry, 9, None).await, (vec![3, 1], false));
    let models = registry.models().await.unwrap();
    assert_eq!((models[0].newest, models[0].versions), (version(3), 2));
}

pub async fn a_damaged_newest_version_is_reported(store: TestStore) {
    let registry = &store.registry;
    publish(registry, b"one").await;
    publish(registry, b"two").await;
    overwrite(registry, &manifest_path(&digits(), version(2)), b"{").await;
    let message = registry.resolve(&ModelRef::default()).await.unwrap_err().to_string();
    assert!(
        message.contains("newest version, 2, of model") && message.contains("alias production"),
        "{message}"
    );
    point(registry, 1, Precondition::Unset).await.unwrap();
    assert_eq!(default_version(registry).await, 1);
}

pub async fn a_deleted_version_is_removed_and_its_number_stays_used(store: TestStore) {
    let registry = &store.registry;
    let first = publish(registry, b"one").await;
    publish(registry, b"two").await;
    point(registry, 1, Precondition::Unset).await.unwrap();
    let aliased = registry.delete_version(&digits(), version(1)).await;
    assert!(matches!(aliased, Err(Error::VersionAliased { .. })), "{aliased:?}");
    registry.delete_version(&digits(), version(2)).await.unwrap();
    assert_eq!(numbers(registry, 10, None).await, (vec![1], false));
    let again = registry.delete_version(&digits(), version(2)).await;
    assert!(matches!(again, Err(Error::VersionNotFound { .. })), "{again:?}");
    assert_eq!(publish(registry, b"three").await.version, version(3));
    assert_eq!(registry.weights(&first).await.unwrap(), b"one");
}

pub async fn the_version_of_a_run_is_found(store: TestStore) {
    let registry = &store.registry;
    let (run, since) = (RunId::new(), chrono::Utc::now());
    let of_run = Draft { run_id: Some(run), ..draft() };
    let made = registry.publish(&digits(), of_run, b"one".to_vec()).await.unwrap();
    publish(registry, b"two").await;
    assert_eq!(registry.published_by(&digits(), run, since).await.unwrap(), Some(made));
    assert_eq!(registry.published_by(&digits(), RunId::new(), since).await.unwrap(), None);
}

pub async fn a_change_increases_the_generation(store: TestStore) {
    let registry = &store.registry;
    let clone = registry.clone();
    let mut last = clone.generation();
    let mut grew = || clone.generation() > std::mem::replace(&mut last, clone.generation());
    publish(registry, b"one").await;
    assert!(grew());
    point(registry, 1, Precondition::Anything).await.unwrap();
    assert!(grew());
    registry.models().await.unwrap();
    assert!(!grew());
}

pub async fn equal_weights_of_two_servers_are_two_versions(store: TestStore) {
    let (registry, other) = (&store.registry, store.of_another_server().await);
    for round in 0..4 {
        let publish = |registry: Registry| async move {
            registry.publish(&digits(), draft(), b"the same".to_vec()).await.unwrap()
        };
        let (first, second) = tokio::join!(publish(registry.clone()), publish(other.clone()));
        let mut published = [first.version, second.version];
        published.sort_unstable();
        assert_eq!(published, [version(2 * round + 1), version(2 * round + 2)]);
        for manifest in [first, second] {
            assert_eq!(registry.weights(&manifest).await.unwrap(), b"the same");
        }
    }
}

pub async fn an_existing_object_with_the_same_bytes_counts_as_written(store: TestStore) {
    let (store, path) = (&store.registry.store, Path::from("models/an-object"));
    let create = async |bytes: &[u8]| store.put_if_absent_or_same(&path, bytes.to_vec()).await.unwrap();
    assert_eq!(create(b"once").await, PutOutcome::Created);
    assert_eq!(create(b"once").await, PutOutcome::Created, "its first response may have been lost");
    assert_eq!(create(b"else").await, PutOutcome::AlreadyExists);
    assert_eq!(create(b"on").await, PutOutcome::AlreadyExists);
    assert_eq!(store.put_if_absent(&path, b"once".to_vec()).await.unwrap(), PutOutcome::AlreadyExists);
    assert_eq!(store.get(&path, 4).await.unwrap().unwrap(), &b"once"[..]);
}

pub async fn an_unfinished_deletion_of_a_dead_server_is_swept(store: TestStore) {
    let registry = &store.registry;
    for bytes in [b"one", b"two"] {
        publish(registry, bytes).await;
        let claim = deletion_path(&digits(), registry.newest(&digits()).await.unwrap().unwrap());
        overwrite(registry, &claim, b"").await;
    }
    // The tombstone of the first was written, and that of the second was not.
    overwrite(registry, &manifest_path(&digits(), version(1)), &json(&ManifestEntry::deleted())).await;
    let now = chrono::Utc::now();
    assert_eq!(registry.sweep(now - chrono::TimeDelta::hours(1)).await.unwrap(), 0, "it may still live");
    assert_eq!(registry.sweep(now + chrono::TimeDelta::hours(1)).await.unwrap(), 2);
    let left = registry.store.below(&Path::from("models")).await.unwrap();
    let mut left: Vec<String> = left.into_iter().map(|(path, _)| path.to_string()).collect();
    left.sort();
    let versions = "models/digits/versions";
    let expected = ["1/manifest.json", "2/manifest.json", "2/weights.safetensors"];
    assert_eq!(left, expected.map(|object| format!("{versions}/{object}")));
    registry.delete_version(&digits(), version(2)).await.unwrap();
}

pub async fn versions_are_numbered_without_being_read(store: TestStore) {
    let registry = &store.registry;
    for _ in 0..4 {
        publish(registry, b"one").await;
    }
    registry.delete_version(&digits(), version(1)).await.unwrap();
    overwrite(registry, &weights_path(&digits(), version(5)), b"half-written").await;
    overwrite(registry, &manifest_path(&digits(), version(2)), b"{").await;
    assert_eq!(registry.version_numbers(&digits()).await.unwrap(), [2, 3, 4].map(version));
    assert_eq!(registry.version_numbers(&"nobody".parse().unwrap()).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn the_number_of_store_requests_does_not_grow_with_deleted_versions() {
    let store = TestStore::memory().await;
    for _ in 0..50 {
        publish(&store.registry, b"one").await;
    }
    let call = std::time::Duration::from_secs(1);
    let slow = store.of_another_server().await.slowed(call);
    let began = tokio::time::Instant::now();
    assert_eq!(slow.version_numbers(&digits()).await.unwrap().len(), 50);
    slow.sweep(chrono::Utc::now()).await.unwrap();
    assert!(began.elapsed() <= 3 * call, "{:?}", began.elapsed());
}
