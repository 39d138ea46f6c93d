//! Which memory is the calling thread's stack.
//!
//! Not by `pthread_getattr_np`, which allocates. The stack of a thread that the C library made ends below its thread
//! control block, where the thread pointer points; that of the main thread at `__libc_stack_end`. A stack pointer
//! elsewhere is on a foreign stack (a coroutine's, a signal's): its memory is proven readable page by page.

/// No stack is larger; what lies farther from the end is a foreign stack.
const STACK_MAX: usize = 1 << 30;
const PAGE: usize = 4096;

unsafe extern "C" {
    static __libc_stack_end: *const libc::c_void;
}

/// The address behind the calling thread's own stack.
pub(super) fn own_end() -> usize {
    // SAFETY: neither call has preconditions.
    let is_main = unsafe { libc::syscall(libc::SYS_gettid) == libc::c_long::from(libc::getpid()) };
    if is_main {
        // SAFETY: the loader sets the variable before any code of the program runs, and nobody changes it.
        return unsafe { __libc_stack_end as usize }.next_multiple_of(PAGE);
    }
    let thread_pointer: usize;
    // SAFETY: on x86-64 the word at fs:0 is the thread pointer itself (psABI), readable in every thread.
    unsafe {
        std::arch::asm!("mov {}, fs:[0]", out(reg) thread_pointer, options(nostack, readonly, preserves_flags, pure));
    }
    thread_pointer
}

/// Whether a stack pointer is on the stack that ends at `end`.
#[inline(always)]
pub(super) const fn is_own(sp: usize, end: usize) -> bool {
    sp < end && end - sp < STACK_MAX
}

/// Memory of a foreign stack that was proven readable.
#[derive(Debug, Clone, Copy)]
pub(super) struct Readable {
    start: usize,
    end: usize,
}

impl Readable {
    /// Nothing proven yet.
    pub(super) const fn nothing() -> Self {
        Self { start: 0, end: 0 }
    }

    /// Whether the word at `address` may be read.
    pub(super) fn holds(&mut self, address: usize) -> bool {
        if !address.is_multiple_of(8) {
            return false;
        }
        if (self.start..self.end).contains(&address) {
            return true;
        }
        let page = address & !(PAGE - 1);
        if !is_readable(page) {
            return false;
        }
        if page == self.end {
            self.end += PAGE;
        } else {
            *self = Self { start: page, end: page + PAGE };
        }
        true
    }
}

/// Asks the kernel to copy a word, which fails softly where a load would be fatal.
fn is_readable(address: usize) -> bool {
    let mut word = 0_u64;
    let local = libc::iovec { iov_base: (&raw mut word).cast(), iov_len: 8 };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: 8 };
    // SAFETY: `local` is valid for writing; the kernel checks `remote`.
    unsafe { libc::process_vm_readv(libc::getpid(), &raw const local, 1, &raw const remote, 1, 0) == 8 }
}
