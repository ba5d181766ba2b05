//! The `digitd` program. Everything it does lives in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    digitd::cli::main()
}
