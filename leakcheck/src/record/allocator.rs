//! The global-allocator wrapper.

use std::alloc::{GlobalAlloc, Layout, System};

/// A global allocator that records where memory is allocated and what stays live.
///
/// ```
/// #[global_allocator]
/// static ALLOC: leakcheck::Leakcheck = leakcheck::Leakcheck::system();
/// ```
#[derive(Debug, Default, Clone, Copy)]
pub struct Leakcheck<A = System> {
    inner: A,
}

impl Leakcheck<System> {
    /// Wraps the system allocator.
    #[must_use]
    pub const fn system() -> Self {
        Self { inner: System }
    }
}

impl<A> Leakcheck<A> {
    /// Wraps any other allocator.
    #[must_use]
    pub const fn new(inner: A) -> Self {
        Self { inner }
    }
}

// SAFETY: every call is forwarded to the inner allocator, whose contract is the same.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Leakcheck<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: forwarded.
        unsafe { self.inner.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: forwarded.
        unsafe { self.inner.dealloc(ptr, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: forwarded.
        unsafe { self.inner.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: forwarded.
        unsafe { self.inner.realloc(ptr, layout, new_size) }
    }
}
