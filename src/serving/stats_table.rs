//! The statistics of the versions that are loaded, and of those that were lately, with their series in the metrics.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock, RwLockWriteGuard},
    time::Duration,
};

use tokio::time::Instant;

use super::stats::{StatsRecorder, VersionStats};
use crate::{
    compute::Metrics,
    ids::{ModelName, Version},
};

/// How long the statistics of a version stay after it was unloaded: long enough to be scraped after the last call, and
/// to continue if the version is loaded again soon.
const KEPT_AFTER_UNLOADING: Duration = Duration::from_secs(600);

/// The largest number of versions that are not loaded and have statistics.
const MAX_UNLOADED: usize = 32;

/// Names a version.
pub type Key = (ModelName, Version);

/// The statistics of versions, by name and number.
#[derive(Debug)]
pub struct StatsTable {
    metrics: Arc<Metrics>,
    /// The largest batch size.
    most: usize,
    versions: RwLock<BTreeMap<Key, TableEntry>>,
}

#[derive(Debug)]
struct TableEntry {
    recorder: Arc<StatsRecorder>,
    /// When the version was unloaded; `None` while it is loaded.
    unloaded: Option<Instant>,
}

impl StatsTable {
    pub fn new(metrics: Arc<Metrics>, most: usize) -> Self {
        Self { metrics, most, versions: RwLock::default() }
    }

    /// The recorder of a version that is being loaded.
    pub fn loading(&self, key: &Key) -> Arc<StatsRecorder> {
        let mut versions = self.write();
        let entry = versions.entry(key.clone()).or_insert_with(|| {
            let metrics = self.metrics.inference.version(&key.0, key.1);
            TableEntry { recorder: Arc::new(StatsRecorder::new(self.most, metrics)), unloaded: None }
        });
        entry.unloaded = None;
        entry.recorder.clone()
    }

    /// Records that a version is not loaded any more, or could not be loaded.
    pub fn unloaded(&self, key: &Key) {
        if let Some(entry) = self.write().get_mut(key) {
            entry.unloaded = Some(Instant::now());
        }
        self.expire();
    }

    /// Removes what is known of a version that was deleted.
    pub fn remove(&self, key: &Key) {
        let mut versions = self.write();
        self.remove_from(&mut versions, key);
    }

    /// Removes the statistics of versions that were unloaded some time ago, or long before others.
    pub fn expire(&self) {
        let mut versions = self.write();
        let unloaded = |(key, entry): (&Key, &TableEntry)| Some((entry.unloaded?, key.clone()));
        let mut unloaded: Vec<(Instant, Key)> = versions.iter().filter_map(unloaded).collect();
        unloaded.sort();
        let excess = unloaded.len().saturating_sub(MAX_UNLOADED);
        for (index, (since, key)) in unloaded.into_iter().enumerate() {
            if index < excess || since.elapsed() >= KEPT_AFTER_UNLOADING {
                self.remove_from(&mut versions, &key);
            }
        }
    }

    /// The names of all versions with statistics.
    pub fn keys(&self) -> Vec<Key> {
        self.versions.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// The statistics of every version, by name and number.
    pub fn read(&self) -> Vec<VersionStats> {
        self.expire();
        let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
        let one = |((model, version), entry): (&Key, &TableEntry)| VersionStats {
            model: model.clone(),
            version: *version,
            stats: entry.recorder.read(),
        };
        versions.iter().map(one).collect()
    }

    fn remove_from(&self, versions: &mut BTreeMap<Key, TableEntry>, key: &Key) {
        if versions.remove(key).is_some() {
            self.metrics.inference.remove(&key.0, key.1);
        }
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<Key, TableEntry>> {
        // Inserting and removing leave the map whole, whoever panicked.
        self.versions.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: i64) -> Key {
        (ModelName::default(), number.try_into().unwrap())
    }

    fn series(table: &StatsTable) -> usize {
        let families = table.metrics.gather(|| ());
        let queue = families.iter().find(|family| family.name() == "digitd_inference_queue_seconds");
        queue.map_or(0, |family| family.get_metric().len())
    }

    #[tokio::test(start_paused = true)]
    async fn the_series_of_a_version_go_some_time_after_it_was_unloaded() {
        let table = StatsTable::new(Arc::default(), 4);
        let first = table.loading(&key(1));
        table.loading(&key(2));
        table.unloaded(&key(1));
        tokio::time::advance(KEPT_AFTER_UNLOADING / 2).await;
        assert!(Arc::ptr_eq(&table.loading(&key(1)), &first), "it continues");
        tokio::time::advance(KEPT_AFTER_UNLOADING).await;
        table.expire();
        assert_eq!((table.keys().len(), series(&table)), (2, 2));
        table.unloaded(&key(1));
        tokio::time::advance(KEPT_AFTER_UNLOADING).await;
        assert_eq!(table.read().len(), 1);
        assert_eq!((table.keys(), series(&table)), (vec![key(2)], 1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_unloaded_versions_with_series_is_bounded() {
        let table = StatsTable::new(Arc::default(), 4);
        for number in 1..=100 {
            table.loading(&key(number));
            table.unloaded(&key(number));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!((table.keys().len(), series(&table)), (MAX_UNLOADED, MAX_UNLOADED));
        assert_eq!(table.keys().last(), Some(&key(100)));
    }
}
