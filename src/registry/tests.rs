//! The registry's conformance: the same on every kind of store.

use object_store::path::Path;

use super::{
    Assignment, Error, Expected, ModelRef, Move, Registry, VersionPage, Which,
    aliases::assignment_path,
    store::Created,
    testing::{digits, draft, publish, stores},
    versions::{manifest_path, weights_path},
};
use crate::ids::{Alias, RunId, Version};

fn version(number: i64) -> Version {
    Version::try_from(number).unwrap()
}

fn production() -> Alias {
    Alias::production()
}

async fn point(registry: &Registry, to: i64, expected: Expected) -> Result<Assignment, Error> {
    let to = Move { version: version(to), expected, reason: "a test".to_owned() };
    registry.set_alias(&digits(), &production(), to).await
}

async fn default_version(registry: &Registry) -> i64 {
    registry.resolve(&ModelRef::default()).await.unwrap().1.into()
}

async fn numbers(registry: &Registry, size: usize, before: Option<i64>) -> (Vec<u32>, bool) {
    let page = VersionPage { size, before: before.map(version) };
    let page = registry.versions(&digits(), page).await.unwrap();
    (page.items.iter().map(|manifest| manifest.version.get()).collect(), page.more)
}

async fn overwrite(registry: &Registry, path: &Path, bytes: &[u8]) {
    registry.store.put(path, bytes.to_vec()).await.unwrap();
}

#[tokio::test]
async fn a_published_version_is_read_as_it_was_written() {
    for (registry, _folder) in stores().await {
        assert!(matches!(registry.resolve(&ModelRef::default()).await, Err(Error::ModelNotFound(_))));
        let first = publish(&registry, b"one").await;
        assert_eq!(first.version, Version::FIRST);
        assert_eq!(registry.manifest(&digits(), Version::FIRST).await.unwrap(), first);
        assert_eq!(registry.weights(&first).await.unwrap(), b"one");
        let missing = registry.manifest(&digits(), version(2)).await;
        assert!(matches!(missing, Err(Error::VersionNotFound { .. })), "{missing:?}");
    }
}

#[tokio::test]
async fn publishers_that_race_never_share_a_version() {
    for (registry, folder) in stores().await {
        // A second server has its own lock; with a folder it even has its own handle of the store.
        let other = match &folder {
            Some(folder) => Registry::open(folder.path().to_str().unwrap()).await.unwrap(),
            None => Registry { store: registry.store.clone(), ..Registry::open("memory:").await.unwrap() },
        };
        let mut racing = tokio::task::JoinSet::new();
        for index in 0..16u8 {
            let registry = if index % 2 == 0 { registry.clone() } else { other.clone() };
            racing.spawn(
                async move { (index, registry.publish(&digits(), draft(), vec![index]).await.unwrap()) },
            );
        }
        let mut published = racing.join_all().await;
        published.sort_by_key(|(_, manifest)| manifest.version);
        for (at, (index, manifest)) in published.iter().enumerate() {
            assert_eq!(manifest.version, version(at as i64 + 1));
            assert_eq!(registry.weights(manifest).await.unwrap(), [*index]);
        }
    }
}

#[tokio::test]
async fn a_half_written_version_is_invisible_and_swept_and_its_number_stays_used() {
    for (registry, _folder) in stores().await {
        publish(&registry, b"one").await;
        overwrite(&registry, &weights_path(&digits(), version(2)), b"half").await;
        assert_eq!(numbers(&registry, 10, None).await, (vec![1], false));
        assert_eq!(default_version(&registry).await, 1);
        assert_eq!(publish(&registry, b"three").await.version, version(3));
        let now = chrono::Utc::now() + chrono::TimeDelta::seconds(5);
        assert_eq!(registry.sweep(now - chrono::TimeDelta::hours(1)).await.unwrap(), 0);
        assert_eq!(registry.sweep(now).await.unwrap(), 1);
        assert_eq!(numbers(&registry, 10, None).await, (vec![3, 1], false));
        // The publisher was only slow: the tombstone refuses its manifest.
        let late = registry.store.create(&manifest_path(&digits(), version(2)), b"{}".to_vec()).await;
        assert_eq!(late.unwrap(), Created::Exists);
    }
}

#[tokio::test]
async fn versions_are_listed_by_number_newest_first() {
    for (registry, _folder) in stores().await {
        for index in 1..=11u8 {
            publish(&registry, &[index]).await;
        }
        assert_eq!(numbers(&registry, 3, None).await, (vec![11, 10, 9], true));
        assert_eq!(numbers(&registry, 3, Some(4)).await, (vec![3, 2, 1], false));
        let [model] = &registry.models().await.unwrap()[..] else { panic!("one model") };
        assert_eq!((model.newest.get(), model.versions), (11, 11));
    }
}

#[tokio::test]
async fn damaged_weights_are_told_and_not_returned() {
    for (registry, _folder) in stores().await {
        let manifest = publish(&registry, b"weights").await;
        let path = weights_path(&digits(), Version::FIRST);
        for damage in [&b"weightz"[..], b"weight", b""] {
            overwrite(&registry, &path, damage).await;
            let read = registry.weights(&manifest).await;
            assert!(matches!(read, Err(Error::Corrupt { .. })), "{read:?}");
        }
        registry.store.delete(&path).await.unwrap();
        assert!(matches!(registry.weights(&manifest).await, Err(Error::Corrupt { .. })));
    }
}

#[tokio::test]
async fn a_manifest_of_a_newer_form_asks_for_a_newer_digitd() {
    for (registry, _folder) in stores().await {
        publish(&registry, b"one").await;
        let path = manifest_path(&digits(), Version::FIRST);
        overwrite(&registry, &path, br#"{"format_version":7,"state":"elsewhere"}"#).await;
        let read = registry.manifest(&digits(), Version::FIRST).await;
        assert!(matches!(read, Err(Error::UnknownFormat { found: 7, known: 1, .. })), "{read:?}");
        overwrite(&registry, &path, b"{").await;
        let read = registry.manifest(&digits(), Version::FIRST).await;
        assert!(matches!(read, Err(Error::Corrupt { .. })), "{read:?}");
    }
}

#[tokio::test]
async fn a_damaged_manifest_hides_no_other_version() {
    for (registry, _folder) in stores().await {
        for _ in 0..3 {
            publish(&registry, b"one").await;
        }
        overwrite(&registry, &manifest_path(&digits(), version(2)), b"{").await;
        assert_eq!(numbers(&registry, 9, None).await, (vec![3, 1], false));
        let models = registry.models().await.unwrap();
        assert_eq!((models[0].newest, models[0].versions), (version(3), 2));
    }
}

#[tokio::test]
async fn a_default_reference_means_production_once_that_was_set() {
    for (registry, _folder) in stores().await {
        publish(&registry, b"one").await;
        publish(&registry, b"two").await;
        assert_eq!(default_version(&registry).await, 2);
        point(&registry, 1, Expected::Unset).await.unwrap();
        assert_eq!(default_version(&registry).await, 1);
        let latest = ModelRef { name: digits(), which: Which::Alias(Alias::latest()) };
        assert!(matches!(registry.resolve(&latest).await, Err(Error::AliasNotFound { .. })));
    }
}

#[tokio::test]
async fn an_alias_moves_only_from_where_it_is_expected() {
    for (registry, _folder) in stores().await {
        publish(&registry, b"one").await;
        publish(&registry, b"two").await;
        let to_nothing = point(&registry, 3, Expected::Anything).await;
        assert!(matches!(to_nothing, Err(Error::VersionNotFound { .. })), "{to_nothing:?}");
        point(&registry, 1, Expected::Unset).await.unwrap();
        let again = point(&registry, 2, Expected::Unset).await;
        let found = Some(Version::FIRST);
        assert!(matches!(again, Err(Error::AliasMoved { found: f, .. }) if f == found), "{again:?}");
        let moved = point(&registry, 2, Expected::Version(version(1))).await.unwrap();
        assert_eq!((moved.number, moved.previous), (2, Some(version(1))));
        assert_eq!(point(&registry, 2, Expected::Anything).await.unwrap(), moved);
    }
}

#[tokio::test]
async fn of_movers_that_race_from_one_place_one_wins() {
    for (registry, _folder) in stores().await {
        for index in 1..=8u8 {
            publish(&registry, &[index]).await;
        }
        point(&registry, 1, Expected::Unset).await.unwrap();
        let mut racing = tokio::task::JoinSet::new();
        for target in 2..=8 {
            // Each with a lock of its own, as if in another process.
            let registry = Registry { changes: Default::default(), ..registry.clone() };
            racing.spawn(async move { point(&registry, target, Expected::Version(version(1))).await });
        }
        let won = racing.join_all().await.into_iter().filter(Result::is_ok).count();
        assert_eq!(won, 1);
        assert_eq!(registry.alias_history(&digits(), &production()).await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn a_rollback_points_to_the_version_before() {
    for (registry, _folder) in stores().await {
        publish(&registry, b"one").await;
        publish(&registry, b"two").await;
        point(&registry, 1, Expected::Unset).await.unwrap();
        let nothing = registry.rollback(&digits(), &production(), "").await;
        assert!(matches!(nothing, Err(Error::NothingBefore { .. })), "{nothing:?}");
        point(&registry, 2, Expected::Anything).await.unwrap();
        let back = registry.rollback(&digits(), &production(), "worse").await.unwrap();
        assert_eq!((back.version, back.number, back.reason.as_str()), (version(1), 3, "worse"));
        let history = registry.alias_history(&digits(), &production()).await.unwrap();
        assert_eq!(history.iter().map(|a| a.version.get()).collect::<Vec<_>>(), [1, 2, 1]);
    }
}

#[tokio::test]
async fn a_damaged_alias_hides_no_model_and_keeps_versions_from_deletion() {
    for (registry, _folder) in stores().await {
        publish(&registry, b"one").await;
        point(&registry, 1, Expected::Unset).await.unwrap();
        let damaged: Alias = "beta".parse().unwrap();
        overwrite(&registry, &assignment_path(&digits(), &damaged, 1), b"{").await;
        let [model] = &registry.models().await.unwrap()[..] else { panic!("one model") };
        assert_eq!(model.aliases, [(production(), Version::FIRST)]);
        publish(&registry, b"two").await;
        let deleted = registry.delete_version(&digits(), version(2)).await;
        assert!(matches!(deleted, Err(Error::Corrupt { .. })), "{deleted:?}");
        let followed = registry.alias(&digits(), &damaged).await;
        assert!(matches!(followed, Err(Error::Corrupt { .. })), "{followed:?}");
    }
}

#[tokio::test]
async fn a_damaged_newest_version_is_not_passed_over_in_silence() {
    for (registry, _folder) in stores().await {
        publish(&registry, b"one").await;
        publish(&registry, b"two").await;
        overwrite(&registry, &manifest_path(&digits(), version(2)), b"{").await;
        let said = registry.resolve(&ModelRef::default()).await.unwrap_err().to_string();
        assert!(said.contains("newest version, 2, of model") && said.contains("alias production"), "{said}");
        point(&registry, 1, Expected::Unset).await.unwrap();
        assert_eq!(default_version(&registry).await, 1);
    }
}

#[tokio::test]
async fn a_deleted_version_is_gone_and_its_number_stays_used() {
    for (registry, _folder) in stores().await {
        let first = publish(&registry, b"one").await;
        publish(&registry, b"two").await;
        point(&registry, 1, Expected::Unset).await.unwrap();
        let aliased = registry.delete_version(&digits(), version(1)).await;
        assert!(matches!(aliased, Err(Error::VersionAliased { .. })), "{aliased:?}");
        registry.delete_version(&digits(), version(2)).await.unwrap();
        assert_eq!(numbers(&registry, 10, None).await, (vec![1], false));
        let again = registry.delete_version(&digits(), version(2)).await;
        assert!(matches!(again, Err(Error::VersionNotFound { .. })), "{again:?}");
        assert_eq!(publish(&registry, b"three").await.version, version(3));
        assert_eq!(registry.weights(&first).await.unwrap(), b"one");
    }
}

#[tokio::test]
async fn the_version_of_a_run_is_found() {
    for (registry, _folder) in stores().await {
        let (run, since) = (RunId::new(), chrono::Utc::now());
        let of_run = crate::registry::Draft { run_id: Some(run), ..draft() };
        let made = registry.publish(&digits(), of_run, b"one".to_vec()).await.unwrap();
        publish(&registry, b"two").await;
        assert_eq!(registry.published_by(&digits(), run, since).await.unwrap(), Some(made));
        assert_eq!(registry.published_by(&digits(), RunId::new(), since).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_change_is_told_by_the_generation() {
    for (registry, _folder) in stores().await {
        let clone = registry.clone();
        let mut seen = clone.generation();
        let mut grew = || clone.generation() > std::mem::replace(&mut seen, clone.generation());
        publish(&registry, b"one").await;
        assert!(grew());
        point(&registry, 1, Expected::Anything).await.unwrap();
        assert!(grew());
        registry.models().await.unwrap();
        assert!(!grew());
    }
}

#[tokio::test]
async fn a_run_keeps_its_state_its_chunks_and_its_newest_checkpoint() {
    for (registry, _folder) in stores().await {
        let (runs, run) = (registry.runs(), RunId::new());
        assert!(matches!(runs.state::<u32>(run).await, Err(Error::RunNotFound(_))));
        runs.put_state(run, &7).await.unwrap();
        assert_eq!(runs.state::<u32>(run).await.unwrap(), 7);
        runs.put_events(run, 1, b"a\n".to_vec()).await.unwrap();
        runs.put_events(run, 1, b"a\nb\n".to_vec()).await.unwrap();
        assert_eq!(runs.append_events(run, 1, b"x".to_vec()).await.unwrap(), super::Append::Taken);
        assert_eq!(runs.append_events(run, 3, b"c\n".to_vec()).await.unwrap(), super::Append::Written);
        assert_eq!(runs.chunks(run).await.unwrap(), [1, 3]);
        assert_eq!(&runs.events(run, 1).await.unwrap()[..], b"a\nb\n");
        assert_eq!(runs.checkpoint(run).await.unwrap(), None);
        for step in [90, 500, 1000] {
            runs.put_checkpoint(run, step, vec![1; step as usize]).await.unwrap();
        }
        let (key, bytes) = runs.checkpoint(run).await.unwrap().unwrap();
        assert_eq!((key.as_str(), bytes.len()), ("checkpoints/0000001000.safetensors", 1000));
        let folder = Path::from_iter(["runs", &run.to_string(), "checkpoints"]);
        assert_eq!(registry.store.names(&folder).await.unwrap().len(), 1);
        let newer = RunId::new();
        runs.put_state(newer, &8).await.unwrap();
        assert_eq!(runs.list().await.unwrap(), [newer, run]);
    }
}

#[tokio::test]
async fn places_that_are_no_store_are_refused() {
    for url in ["", "ftp://host/x", "file://relative/x"] {
        let opened = Registry::open(url).await;
        assert!(matches!(opened, Err(Error::Location(_))), "{url:?}: {opened:?}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let opened = Registry::open(file.path().to_str().unwrap()).await;
    assert!(matches!(opened, Err(Error::Unwritable { .. })), "{opened:?}");
}
