//! Whose run it is, and whether that server still lives: how a run is told apart from one whose
//! server was killed.

use std::{
    collections::BTreeSet,
    fs,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How often an owner writes the state of a run that it trains.
pub(super) const REFRESH: std::time::Duration = std::time::Duration::from_secs(10);

/// A run on another machine that was not refreshed for so long has lost its server.
const STALE: TimeDelta = TimeDelta::seconds(60);

/// The engines of this process that live.
static LIVING: Mutex<BTreeSet<Uuid>> = Mutex::new(BTreeSet::new());

/// A server, so exactly that no later one is taken for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner {
    /// Machine, boot and process namespace: within it a process id means one process at a time.
    host: String,
    pid: u32,
    /// When the process started, in clock ticks since the boot: process ids are used again.
    process_start: u64,
    /// The engine: a process may have several, one after the other.
    engine: Uuid,
}

/// An engine's claim to be alive; it ends with the value.
#[derive(Debug)]
pub(super) struct Presence(Owner);

impl Presence {
    pub fn new() -> Self {
        let engine = Uuid::now_v7();
        living().insert(engine);
        let pid = std::process::id();
        Self(Owner { host: host(), pid, process_start: process_start(pid).unwrap_or(0), engine })
    }

    pub fn owner(&self) -> &Owner {
        &self.0
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        living().remove(&self.0.engine);
    }
}

impl Owner {
    /// Whether this server is gone; `refreshed` is when it last wrote, for one that is elsewhere.
    pub fn is_gone(&self, refreshed: DateTime<Utc>) -> bool {
        if self.host != host() {
            return Utc::now() - refreshed > STALE;
        }
        if process_start(self.pid) != Some(self.process_start) {
            return true;
        }
        self.pid == std::process::id() && !living().contains(&self.engine)
    }
}

fn living() -> std::sync::MutexGuard<'static, BTreeSet<Uuid>> {
    // Inserting and removing leave the set whole, whoever panicked.
    LIVING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn host() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let name = read("/proc/sys/kernel/hostname");
    let boot = read("/proc/sys/kernel/random/boot_id");
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{name} {boot} {}", namespace.display())
}

/// Field 22 of `/proc/<pid>/stat`; none where there is no such process, or a dead one that its
/// parent has not asked after.
fn process_start(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, field 2, is in parentheses and may hold anything, more parentheses too.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
pub(super) mod testing {
    use super::{Owner, Presence};

    impl Presence {
        /// Of a server that is gone.
        pub fn killed() -> Self {
            Self(Self::new().owner().clone().killed())
        }
    }

    impl Owner {
        /// As left behind by a process that was killed: a process id that is given to nobody.
        pub fn killed(mut self) -> Self {
            self.pid = u32::MAX;
            self
        }

        pub fn elsewhere(mut self) -> Self {
            self.host = "another machine".to_owned();
            self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_lives_as_long_as_its_presence() {
        let presence = Presence::new();
        let owner = presence.owner().clone();
        assert!(owner.process_start > 0);
        assert!(!owner.is_gone(Utc::now()));
        assert!(owner.clone().killed().is_gone(Utc::now()));
        drop(presence);
        assert!(owner.is_gone(Utc::now()));
    }

    #[test]
    fn a_process_with_the_same_id_is_another_one_when_it_started_later() {
        let presence = Presence::new();
        let mut owner = presence.owner().clone();
        owner.process_start -= 1;
        assert!(owner.is_gone(Utc::now()));
    }

    #[test]
    fn a_server_elsewhere_lives_as_long_as_it_refreshes_its_run() {
        let presence = Presence::new();
        let elsewhere = presence.owner().clone().elsewhere();
        assert!(!elsewhere.is_gone(Utc::now() - TimeDelta::seconds(30)));
        assert!(elsewhere.is_gone(Utc::now() - TimeDelta::seconds(90)));
    }
}
