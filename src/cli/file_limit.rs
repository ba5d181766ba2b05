//! The limit of open files of this process. Every connection is an open file, and so is every object that the store
//! reads: connections may not take them all.

/// Files that are kept for the store, data sets, libraries and the HTTP port, at least.
const RESERVED: u64 = 96;

/// Raises the soft limit to the hard one. Where the system refuses that, the limit stays as it is.
pub fn raise() {
    // The connections are bounded by the limit that is found afterwards, whatever it is.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
}

/// Most connections that leave the rest of the server a quarter of the files, and at least `RESERVED`.
pub fn max_connections() -> usize {
    let files = rlimit::Resource::NOFILE.get_soft().unwrap_or(1024);
    connections(files)
}

fn connections(files: u64) -> usize {
    let most = files.saturating_sub(RESERVED.max(files / 4));
    usize::try_from(most).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_the_store() {
        assert_eq!(connections(1024), 768);
        assert_eq!(connections(256), 160);
        assert_eq!(connections(64), 1);
        assert_eq!(connections(u64::MAX), (u64::MAX - u64::MAX / 4) as usize);
    }
}
