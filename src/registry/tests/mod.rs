//! The conformance suite of the registry, which runs in memory, in a folder and in a bucket of a real S3
//! server. A test is written once for any store; the list at the end runs it on each.

mod aliases;
mod locations;
mod races;
mod retention;
mod runs;
mod versions;

use object_store::path::Path;

use super::{
    AliasUpdate, Assignment, AuditNote, Error, ModelRef, Precondition, Registry, VersionPage,
    testing::{TestStore, digits},
};
use crate::ids::{Alias, Version};

fn version(number: i64) -> Version {
    Version::try_from(number).unwrap()
}

fn production() -> Alias {
    Alias::production()
}

async fn point(registry: &Registry, to: i64, expected: Precondition) -> Result<Assignment, Error> {
    let to = AliasUpdate { version: version(to), expected, note: AuditNote::new("ana", "a test") };
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

macro_rules! on_every_store {
    ($($room:ident::$test:ident)*) => {
        mod on_memory {
            $(#[tokio::test]
            async fn $test() {
                super::$room::$test(super::TestStore::memory().await).await;
            })*
        }
        mod in_a_folder {
            $(#[tokio::test]
            async fn $test() {
                super::$room::$test(super::TestStore::folder().await).await;
            })*
        }
        mod in_a_bucket {
            $(#[tokio::test]
            async fn $test() {
                let Some(store) = super::TestStore::bucket().await else { return };
                super::$room::$test(store).await;
            })*
        }
    };
}

on_every_store! {
    versions::a_published_version_is_read_back_unchanged
    versions::racing_publishers_never_share_a_version
    versions::an_incomplete_version_is_invisible_and_swept_and_its_number_stays_used
    versions::versions_are_listed_by_number_newest_first
    versions::damaged_weights_are_reported_and_not_returned
    versions::a_manifest_of_another_format_requires_another_digitd
    versions::a_damaged_manifest_hides_no_other_version
    versions::a_damaged_newest_version_is_reported
    versions::a_deleted_version_is_removed_and_its_number_stays_used
    versions::the_version_of_a_run_is_found
    versions::a_change_increases_the_generation
    versions::equal_weights_of_two_servers_are_two_versions
    versions::an_existing_object_with_the_same_bytes_counts_as_written
    versions::an_unfinished_deletion_of_a_dead_server_is_swept
    versions::versions_are_numbered_without_being_read
    aliases::a_default_reference_means_production_once_that_was_set
    aliases::an_alias_moves_only_from_where_it_is_expected
    aliases::one_of_several_racing_alias_moves_succeeds
    aliases::a_rollback_points_to_the_version_before
    aliases::a_damaged_alias_hides_no_model_and_keeps_versions_from_deletion
    aliases::an_alias_records_who_moved_it_and_why
    aliases::an_alias_records_the_measurements_of_its_version
    aliases::an_alias_never_ends_on_a_version_that_another_server_deletes
    retention::pruning_keeps_the_newest_versions_and_those_of_aliases_and_runs
    retention::pruning_during_alias_moves_keeps_every_version_with_an_alias
    retention::pruning_one_model_leaves_other_models_unchanged
    runs::a_run_keeps_its_state_its_chunks_and_its_newest_checkpoint
}
