//! The `digitd` program. Everything it does lives in the library.

fn main() {
    digitd::cli::main()
}
