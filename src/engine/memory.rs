//! How the C allocator, which libtorch uses, treats large blocks.

/// Keeps freed memory in the process. By default glibc gives every large block back to the kernel
/// and faults its pages in again for the next batch, which halves training at large batches.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the allocator has no other door")]
pub(super) fn keep_freed_blocks() {
    // The largest threshold that glibc takes: larger blocks are mapped and given back as before.
    const MMAP_THRESHOLD: libc::c_int = 32 << 20;
    const TRIM_THRESHOLD: libc::c_int = 512 << 20;
    // SAFETY: mallopt takes two numbers, locks the allocator itself and may be called at any time.
    let kept = unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD) == 1
            && libc::mallopt(libc::M_TRIM_THRESHOLD, TRIM_THRESHOLD) == 1
    };
    if !kept {
        tracing::warn!("the allocator keeps its defaults: training at large batches is slower");
    }
}

/// Gives the memory that a job left to the kernel: what it kept for its next batch, nobody needs.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the allocator has no other door")]
pub(super) fn give_back_freed_blocks() {
    // SAFETY: malloc_trim takes a number, locks the allocator itself and may be called at any time.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn keep_freed_blocks() {}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn give_back_freed_blocks() {}
