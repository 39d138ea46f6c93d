//! Memory of our own, straight from the kernel: the recorder never allocates through the allocator it watches.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

static MAPPED_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Maps `bytes` of zeroed memory; `None` when the kernel refuses. Pages cost nothing until they are touched.
#[cold]
pub(super) fn map_zeroed(bytes: usize) -> Option<NonNull<u8>> {
    keeping_errno(|| {
        // SAFETY: a new anonymous private mapping touches no existing memory.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return None;
        }
        // Relaxed: a statistic.
        MAPPED_BYTES.fetch_add(bytes, Ordering::Relaxed);
        NonNull::new(address.cast())
    })
}

/// Gives back memory of [`map_zeroed`].
///
/// # Safety
///
/// `address` and `bytes` come from one call of [`map_zeroed`], and nothing refers to the memory any more.
pub(super) unsafe fn unmap(address: NonNull<u8>, bytes: usize) {
    keeping_errno(|| {
        // SAFETY: by this function's contract the mapping is ours and unused.
        unsafe { libc::munmap(address.as_ptr().cast(), bytes) };
    });
    MAPPED_BYTES.fetch_sub(bytes, Ordering::Relaxed);
}

/// Runs `work` and puts the thread's `errno` back: the watched program may be about to read it.
pub(super) fn keeping_errno<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: `__errno_location` returns the calling thread's own errno, valid for the thread's life.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let saved = unsafe { *errno };
    let result = work();
    // SAFETY: as above.
    unsafe { *errno = saved };
    result
}
