//! Environment variables that the libraries below libtorch read when the program is loaded. They are set by
//! executing the program again.
//!
//! libgomp's threads spin for milliseconds by default while they wait for each other. On a machine where
//! something else runs too, each operation waits for a thread that is not running while another occupies its
//! processor: training has been twenty times slower. And on a GPU cuDNN multiplies float32 in TF32 by
//! default, with 10 bits of mantissa: the `float32` of a request would not be what it says, and a GPU's
//! numbers not those of a CPU.

use std::{ffi::OsString, os::unix::process::CommandExt as _, process::Command};

struct Variable {
    name: &'static str,
    value: &'static str,
    /// Another variable of the same purpose; where the user has set it, this one is left unset.
    alternative: Option<&'static str>,
}

const VARIABLES: [Variable; 2] = [
    // Iterations of the spin loop before a thread sleeps: some microseconds, about the cost of a wake-up.
    Variable { name: "GOMP_SPINCOUNT", value: "2000", alternative: Some("OMP_WAIT_POLICY") },
    Variable { name: "NVIDIA_TF32_OVERRIDE", value: "0", alternative: None },
];

/// Executes the program again with the variables that are missing, once. Returns where all are set, or
/// where the program cannot be executed.
pub(super) fn apply() {
    let missing = missing(|name| std::env::var_os(name));
    if missing.is_empty() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let _ = Command::new(program).args(std::env::args_os().skip(1)).envs(missing).exec();
}

/// The variables that the environment lacks.
fn missing(environment: impl Fn(&str) -> Option<OsString>) -> Vec<(&'static str, &'static str)> {
    let is_set = |name: &str| environment(name).is_some();
    let missing = VARIABLES.iter().filter(|it| !is_set(it.name) && !it.alternative.is_some_and(is_set));
    missing.map(|it| (it.name, it.value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_the_user_set_is_not_overwritten() {
        let missing_with = |set: &[&str]| {
            let found = missing(|name| set.contains(&name).then(OsString::new));
            found.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(missing_with(&[]), ["GOMP_SPINCOUNT", "NVIDIA_TF32_OVERRIDE"]);
        assert_eq!(missing_with(&["OMP_WAIT_POLICY"]), ["NVIDIA_TF32_OVERRIDE"]);
        assert!(missing_with(&["GOMP_SPINCOUNT", "NVIDIA_TF32_OVERRIDE"]).is_empty());
    }
}
