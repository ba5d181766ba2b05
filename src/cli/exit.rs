//! How a command ends: its status, the exit codes of the program, and leaving the process.

use std::io::Write as _;

use crate::telemetry;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    Success,
    /// The command worked, and its result is bad: a run that failed, a machine that lacks something.
    Failure,
    Cancelled,
}

impl ExitStatus {
    /// The exit code that a shell sees.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            // As of a program that SIGINT ended.
            Self::Cancelled => 130,
        }
    }
}

/// The exit code of a program that SIGPIPE ended.
pub const CLOSED_PIPE: u8 = 141;

/// Ends the program at once. Threads of the engine may still compute, warming up a version that nobody
/// waits for any more: an ordinary exit would destroy libtorch's state under them.
#[expect(unsafe_code, reason = "the standard library has no exit that leaves other threads alone")]
pub fn exit(code: u8) -> ! {
    // A closed standard output cannot be reported anywhere.
    let _ = std::io::stdout().flush();
    telemetry::close();
    // SAFETY: _exit takes a number and does not return.
    unsafe { libc::_exit(code.into()) }
}
