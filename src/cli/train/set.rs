//! Fields of a request that flags override.

/// Sets a field where its flag is given.
pub fn set<T>(field: &mut Option<T>, flag: Option<T>) {
    if flag.is_some() {
        *field = flag;
    }
}
