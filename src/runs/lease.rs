//! Which server a run belongs to, and whether that server is alive: how recovery distinguishes a live run from one
//! whose server was killed.

use std::{
    collections::BTreeSet,
    fs,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How often a server refreshes the stored state of a run that it trains.
pub const REFRESH: std::time::Duration = std::time::Duration::from_secs(10);

/// A run on another machine that was not refreshed for this long has lost its server.
const EXPIRES_AFTER: TimeDelta = TimeDelta::seconds(60);

/// The engines of this process whose lease is held.
static HELD: Mutex<BTreeSet<Uuid>> = Mutex::new(BTreeSet::new());

/// Identifies a server so exactly that no later one is mistaken for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerId {
    /// Machine, boot and process namespace, within which a process id names one process at a time.
    host: String,
    pid: u32,
    /// When the process started, in clock ticks since the boot, because process ids are reused.
    process_start: u64,
    /// The engine, because a process may have several, one after the other.
    engine: Uuid,
}

/// An engine's claim on its runs; it expires with the value.
#[derive(Debug)]
pub struct Lease(ServerId);

impl Lease {
    pub fn new() -> Self {
        let engine = Uuid::now_v7();
        held().insert(engine);
        let pid = std::process::id();
        Self(ServerId { host: host(), pid, process_start: process_start(pid).unwrap_or(0), engine })
    }

    pub fn server(&self) -> &ServerId {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        held().remove(&self.0.engine);
    }
}

impl ServerId {
    /// Whether this server no longer lives. `refreshed` is when it last wrote the run's state, which decides for a
    /// server on another machine.
    pub fn is_expired(&self, refreshed: DateTime<Utc>) -> bool {
        if self.host != host() {
            return Utc::now() - refreshed > EXPIRES_AFTER;
        }
        if process_start(self.pid) != Some(self.process_start) {
            return true;
        }
        self.pid == std::process::id() && !held().contains(&self.engine)
    }
}

fn held() -> std::sync::MutexGuard<'static, BTreeSet<Uuid>> {
    // Inserting and removing leave the set whole, whoever panicked.
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

fn host() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let name = read("/proc/sys/kernel/hostname");
    let boot = read("/proc/sys/kernel/random/boot_id");
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{name} {boot} {}", namespace.display())
}

/// Field 22 of `/proc/<pid>/stat`; none where there is no such process, or only a dead one that its parent has
/// not waited for.
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
    use super::{Lease, ServerId};

    impl Lease {
        /// The lease of a server that was killed.
        pub fn killed() -> Self {
            Self(Self::new().server().clone().killed())
        }
    }

    impl ServerId {
        /// The same server after it was killed: its process id belongs to no process.
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
    fn a_server_is_alive_as_long_as_its_lease() {
        let lease = Lease::new();
        let server = lease.server().clone();
        assert!(server.process_start > 0);
        assert!(!server.is_expired(Utc::now()));
        assert!(server.clone().killed().is_expired(Utc::now()));
        drop(lease);
        assert!(server.is_expired(Utc::now()));
    }

    #[test]
    fn a_process_id_that_is_reused_is_another_process() {
        let lease = Lease::new();
        let mut server = lease.server().clone();
        server.process_start -= 1;
        assert!(server.is_expired(Utc::now()));
    }

    #[test]
    fn a_remote_server_is_alive_as_long_as_it_renews_its_lease() {
        let lease = Lease::new();
        let elsewhere = lease.server().clone().elsewhere();
        assert!(!elsewhere.is_expired(Utc::now() - TimeDelta::seconds(30)));
        assert!(elsewhere.is_expired(Utc::now() - TimeDelta::seconds(90)));
    }
}
