//! The `digitd` program. Everything it does lives in the library.

fn main() {
    // Before anything is allocated that stays. An engine that starts sets it again, and warns if that fails.
    let _ = digitd::compute::keep_freed_memory();
    digitd::cli::main()
}
