//! Settings that the libraries below libtorch read from the environment when the program is loaded, so
//! they are set by starting the program over.
//!
//! libgomp's threads spin for milliseconds by default while they wait for each other. On a machine where
//! something else runs too, each operation waits for a thread that is not running while another burns
//! its processor: training was seen twenty times slower. And on a GPU cuDNN multiplies float32 in TF32 by
//! default, with 10 bits of mantissa: the `float32` of a request would not be what it says, and a GPU's
//! numbers not those of a CPU.

use std::{ffi::OsString, os::unix::process::CommandExt as _, process::Command};

struct Setting {
    name: &'static str,
    value: &'static str,
    /// Another setting of the same thing that people may have made themselves; then it stands.
    instead: Option<&'static str>,
}

const SETTINGS: [Setting; 2] = [
    // Turns of the waiting loop before a thread sleeps: some microseconds, about what waking costs.
    Setting { name: "GOMP_SPINCOUNT", value: "2000", instead: Some("OMP_WAIT_POLICY") },
    Setting { name: "NVIDIA_TF32_OVERRIDE", value: "0", instead: None },
];

/// Starts the program over with what is not set yet, once. Comes back where everything is set, or where
/// the program cannot be started over.
pub(super) fn apply() {
    let missing = missing(|name| std::env::var_os(name));
    if missing.is_empty() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let _ = Command::new(program).args(std::env::args_os().skip(1)).envs(missing).exec();
}

/// The settings that the environment does not make.
fn missing(environment: impl Fn(&str) -> Option<OsString>) -> Vec<(&'static str, &'static str)> {
    let is_set = |name: &str| environment(name).is_some();
    let missing = SETTINGS.iter().filter(|it| !is_set(it.name) && !it.instead.is_some_and(is_set));
    missing.map(|it| (it.name, it.value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_set_themselves_stands() {
        let missing_with = |set: &[&str]| {
            let found = missing(|name| set.contains(&name).then(OsString::new));
            found.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(missing_with(&[]), ["GOMP_SPINCOUNT", "NVIDIA_TF32_OVERRIDE"]);
        assert_eq!(missing_with(&["OMP_WAIT_POLICY"]), ["NVIDIA_TF32_OVERRIDE"]);
        assert!(missing_with(&["GOMP_SPINCOUNT", "NVIDIA_TF32_OVERRIDE"]).is_empty());
    }
}
