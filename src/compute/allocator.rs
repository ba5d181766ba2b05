//! How the C allocator, which libtorch uses, treats large blocks.

/// Keeps freed memory in the process. By default glibc returns every large block to the kernel and faults its
/// pages in again for the next batch, which halves training at large batches. Call it as early as possible: blocks
/// that were allocated before keep the old treatment. Calling it again changes nothing. False if the allocator refuses,
/// which costs speed alone.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the allocator has no other door")]
#[must_use]
pub fn keep_freed_memory() -> bool {
    // The largest threshold that glibc takes: larger blocks are mapped and given back as before.
    const MMAP_THRESHOLD: libc::c_int = 32 << 20;
    const TRIM_THRESHOLD: libc::c_int = 512 << 20;
    // SAFETY: mallopt takes two numbers, locks the allocator itself and may be called at any time. An allocator
    // that refuses a setting keeps its default.
    let accepted = unsafe {
        [
            libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD),
            libc::mallopt(libc::M_TRIM_THRESHOLD, TRIM_THRESHOLD),
        ]
    };
    accepted == [1, 1]
}

/// Returns the memory that a finished job left in the process to the kernel.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the allocator has no other door")]
pub fn return_freed_memory() {
    // SAFETY: malloc_trim takes a number, locks the allocator itself and may be called at any time.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators are left as they are.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
#[must_use]
pub fn keep_freed_memory() -> bool {
    true
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn return_freed_memory() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_are_accepted_also_the_second_time() {
        assert!(keep_freed_memory());
        assert!(keep_freed_memory());
    }
}
