//! Loading: callers that disconnect, references that move, versions that load slowly or not at all, and a
//! store that stops responding.

use std::time::Duration;

use futures::FutureExt;
use tokio::time::timeout;

use super::*;
use crate::{
    compute::testing::weights,
    registry::{VersionSelector, testing},
};

async fn models() -> Arc<LoadedModels> {
    let registry = Registry::open("memory:").await.unwrap();
    testing::publish(&registry, &weights()).await;
    let config = BatchConfig { workers: 1, max_loaded_versions: 2, ..BatchConfig::default() };
    Arc::new(LoadedModels::new(registry, Device::Cpu, config, Arc::new(Metrics::default())))
}

/// The same models on a store that does not respond any more.
async fn silenced(models: Arc<LoadedModels>) -> Arc<LoadedModels> {
    // The tasks that clean up after a load.
    while Arc::strong_count(&models) > 1 {
        tokio::task::yield_now().await;
    }
    let mut models = Arc::into_inner(models).unwrap();
    models.registry = models.registry.slowed(Duration::from_secs(3600));
    Arc::new(models)
}

fn pinned(version: Version) -> ModelRef {
    ModelRef { which: VersionSelector::Version(version), ..ModelRef::default() }
}

/// The version that the default reference resolves to.
async fn version(models: &Arc<LoadedModels>) -> Result<u32, Error> {
    models.get(&ModelRef::default()).await.map(|loaded| loaded.manifest.version.get())
}

#[tokio::test]
async fn an_abandoned_load_is_finished_for_the_next_caller() {
    let models = models().await;
    let turn = models.turn.lock().await;
    assert!(timeout(Duration::ZERO, version(&models)).await.is_err());
    while models.loading().is_empty() {
        tokio::task::yield_now().await;
    }
    let load = models.loading().values().next().unwrap().clone();
    drop(turn);
    let loaded = load.outcome.await.unwrap();
    assert!(Arc::ptr_eq(&models.get(&ModelRef::default()).await.unwrap(), &loaded));
    while !models.loading().is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_previous_version_serves_while_the_next_one_loads() {
    let models = models().await;
    assert_eq!(version(&models).await.unwrap(), 1);
    let turn = models.turn.lock().await;
    testing::publish(&models.registry, &weights()).await;
    // The timeout expires at once.
    tokio::time::pause();
    assert_eq!(version(&models).await.unwrap(), 1);
    tokio::time::resume();
    drop(turn);
    while version(&models).await.unwrap() != 2 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_first_version_that_loads_for_long_is_reported_as_loading() {
    let models = models().await;
    let turn = models.turn.lock().await;
    tokio::time::pause();
    assert!(matches!(version(&models).await, Err(Error::Loading)));
    tokio::time::resume();
    drop(turn);
    while let Err(Error::Loading) = version(&models).await {
        tokio::task::yield_now().await;
    }
    assert_eq!(version(&models).await.unwrap(), 1);
}

#[tokio::test]
async fn loaded_versions_serve_while_the_store_does_not_respond() {
    let models = models().await;
    assert_eq!(version(&models).await.unwrap(), 1);
    let models = silenced(models).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(100)).await;
    let exact = models.get(&pinned(Version::FIRST)).now_or_never();
    assert_eq!(exact.expect("it needs no store").unwrap().manifest.version, Version::FIRST);
    let found = timeout(Duration::from_secs(1), version(&models)).await;
    assert_eq!(found.expect("nobody waits for long").unwrap(), 1);
    let again = version(&models).now_or_never();
    assert_eq!(again.expect("nobody waits twice").unwrap(), 1);
    assert_eq!(models.resolved.pending_count(), 2, "each reference is asked for once");
}

#[tokio::test]
async fn a_version_that_cannot_be_loaded_is_read_once_a_second() {
    let models = models().await;
    let broken = testing::publish(&models.registry, b"no weights").await.version;
    let model = pinned(broken);
    let get = || models.get(&model);
    assert!(matches!(get().await, Err(Error::Corrupt { .. })));
    let turn = models.turn.lock().await;
    let again = get().now_or_never().expect("why it failed is remembered");
    assert!(matches!(again, Err(Error::Corrupt { .. })));
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(1)).await;
    tokio::time::resume();
    assert!(timeout(Duration::from_millis(10), get()).await.is_err(), "it is read again");
    drop(turn);
    assert!(matches!(get().await, Err(Error::Corrupt { .. })));
}

#[tokio::test]
async fn concurrent_requests_for_a_reference_read_the_store_once() {
    let models = models().await;
    let model = ModelRef::default();
    let mut asking: Vec<_> = (0..100).map(|_| Box::pin(models.get(&model))).collect();
    for get in &mut asking {
        assert!(futures::poll!(get).is_pending());
    }
    assert_eq!(models.resolved.pending_count(), 1);
    for get in asking {
        assert_eq!(get.await.unwrap().manifest.version, Version::FIRST);
    }
    assert_eq!(models.resolved.pending_count(), 0);
}

#[tokio::test]
async fn the_least_recently_used_version_is_evicted() {
    let models = models().await;
    let mut versions = vec![Version::FIRST];
    for _ in 0..2 {
        versions.push(testing::publish(&models.registry, &weights()).await.version);
    }
    let [first, second, third] = versions[..] else { panic!("three versions") };
    for version in [first, second, first, third] {
        models.get(&pinned(version)).await.unwrap();
    }
    let loaded = versions.iter().map(|version| models.has(&ModelName::default(), *version));
    assert_eq!(loaded.collect::<Vec<_>>(), [true, false, true]);
}

#[tokio::test]
async fn a_resolution_is_cached_unless_it_is_older_or_its_version_was_evicted() {
    let models = models().await;
    let model = ModelRef::default();
    let old = models.resolve(&model);
    let first = old.outcome.clone().await.unwrap();
    testing::publish(&models.registry, &weights()).await;
    let second = models.get(&model).await.unwrap();
    let kept = || models.cached(&model).map(|cached| cached.loaded.manifest.version);
    models.commit(&model, old.stamp, &first);
    assert_eq!(kept(), Some(second.manifest.version));
    models.forget(&(ModelName::default(), second.manifest.version));
    assert_eq!(kept(), None);
    models.commit(&model, old.stamp, &second);
    assert_eq!(kept(), None);
}

#[tokio::test]
async fn a_deleted_version_is_not_served_and_leaves_no_series() {
    let models = models().await;
    testing::publish(&models.registry, &weights()).await;
    for version in [Version::FIRST, Version::FIRST.next()] {
        models.get(&pinned(version)).await.unwrap();
    }
    // Another server moves the alias, so this one is not notified.
    models.registry.delete_version(&ModelName::default(), Version::FIRST).await.unwrap();
    let gone = models.get(&pinned(Version::FIRST)).await;
    assert!(matches!(gone, Err(Error::VersionNotFound { .. })));
    let counted: Vec<u32> = models.stats().into_iter().map(|stats| stats.version.get()).collect();
    assert_eq!(counted, [2]);
    let text = format!("{:?}", models.metrics.gather(|| models.refresh_metrics()));
    assert!(text.contains(r#"value: "2""#) && !text.contains(r#"value: "1""#), "{text}");
}

#[tokio::test]
async fn versions_deleted_by_other_servers_are_evicted_when_another_version_is_loaded() {
    let models = models().await;
    models.get(&pinned(Version::FIRST)).await.unwrap();
    let next = testing::publish(&models.registry, &weights()).await.version;
    models.registry.delete_version(&ModelName::default(), Version::FIRST).await.unwrap();
    models.get(&pinned(next)).await.unwrap();
    while models.stats().len() > 1 {
        tokio::task::yield_now().await;
    }
    assert!(!models.has(&ModelName::default(), Version::FIRST));
}
