//! How libtorch's OpenMP threads wait for each other. By default libgomp's spin for milliseconds,
//! so on a machine where something else runs too, each operation waits for a thread that is not
//! running while another burns its processor: training was seen twenty times slower. libgomp reads
//! its settings when the program is loaded, so they are set by starting the program over.

use std::{os::unix::process::CommandExt as _, process::Command};

/// Turns of the waiting loop before a thread sleeps: some microseconds, about what waking costs.
const SPINS: &str = "2000";

/// What people may have set themselves; then it stands.
const SETTINGS: [&str; 2] = ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT"];

/// Starts the program over with short waits, once. Comes back where they are set already, or where
/// it cannot be started over: then it is only slower.
pub(super) fn shorten_waits() {
    if SETTINGS.iter().any(|setting| std::env::var_os(setting).is_some()) {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let _ = Command::new(program).args(std::env::args_os().skip(1)).env(SETTINGS[1], SPINS).exec();
}
