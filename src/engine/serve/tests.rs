//! Loading: callers that go away, references that move, versions that load slowly.

use tokio::time::timeout;

use super::*;
use crate::{engine::worker::testing::weights, registry::testing};

async fn models() -> Arc<Models> {
    let registry = Registry::open("memory:").await.unwrap();
    testing::publish(&registry, &weights()).await;
    let config = BatchConfig { workers: 1, ..BatchConfig::default() };
    Arc::new(Models::new(registry, Device::Cpu, config, Arc::new(Metrics::new())))
}

/// The version that the default reference is answered with.
async fn version(models: &Arc<Models>) -> Result<u32, Error> {
    models.get(&ModelRef::default()).await.map(|loaded| loaded.manifest.version.get())
}

#[tokio::test]
async fn a_load_that_its_caller_left_is_finished_for_the_next() {
    let models = models().await;
    let turn = models.turn.lock().await;
    assert!(timeout(Duration::ZERO, version(&models)).await.is_err());
    let load = models.loading().values().next().unwrap().clone();
    drop(turn);
    let loaded = load.outcome.await.unwrap();
    assert!(Arc::ptr_eq(&models.get(&ModelRef::default()).await.unwrap(), &loaded));
    while !models.loading().is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_version_before_answers_while_the_next_one_loads() {
    let models = models().await;
    assert_eq!(version(&models).await.unwrap(), 1);
    let turn = models.turn.lock().await;
    testing::publish(&models.registry, &weights()).await;
    // The patience passes at once.
    tokio::time::pause();
    assert_eq!(version(&models).await.unwrap(), 1);
    tokio::time::resume();
    drop(turn);
    while version(&models).await.unwrap() != 2 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_first_version_that_loads_for_long_is_told_as_loading() {
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
