//! The `digitd` program. Everything it does lives in the library.

fn main() {
    // Before anything is allocated that stays.
    digitd::compute::keep_freed_memory();
    digitd::cli::main()
}
