//! Sweeping: what servers that died left in the store is removed or moved aside, at the start and while the engine lives.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use chrono::{TimeDelta, Utc};

use crate::{compute::Error, registry::Registry, runs::RunManager};

/// Files that are older than this belong to a server that died.
const ABANDONED: TimeDelta = TimeDelta::hours(1);

/// The interval between two searches for such files.
const PERIOD: Duration = Duration::from_secs(3600);

/// Sweeps once, and from then on as long as the engine lives.
pub async fn start(registry: Registry, runs: &Arc<RunManager>) -> Result<(), Error> {
    sweep(&registry, runs).await?;
    tokio::spawn(keep_sweeping(registry, Arc::downgrade(runs)));
    Ok(())
}

async fn keep_sweeping(registry: Registry, runs: Weak<RunManager>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        let Some(runs) = runs.upgrade() else { return };
        if let Err(error) = sweep(&registry, &runs).await {
            tracing::warn!(%error, "cannot remove what servers that died left");
        }
    }
}

async fn sweep(registry: &Registry, runs: &RunManager) -> Result<(), Error> {
    let before = Utc::now() - ABANDONED;
    let abandoned = registry.abandoned(before).await?;
    // Every state is read for this, so it is done only where something is abandoned.
    let published = if abandoned.is_empty() { Vec::new() } else { runs.published_versions().await? };
    for version in abandoned {
        if published.contains(&version) {
            tracing::warn!(%version, "its manifest is gone, and a run published it: restore the manifest");
            continue;
        }
        match registry.set_aside(&version).await {
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(%version, %error, "its manifest is gone, and its weights stay where they are");
            }
        }
    }
    registry.sweep(before).await?;
    Ok(())
}
