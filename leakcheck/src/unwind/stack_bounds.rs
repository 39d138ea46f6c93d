//! What stack memory may be read without a fault.
//!
//! The calling thread's own stack is found once, from the thread pointer (glibc puts a thread's control block at the top of its
//! stack) or, on the main thread, from `__libc_stack_end`, and every page down to the stack pointer is proven readable by asking
//! the kernel. Any other stack (a coroutine's, a signal's) is proven page by page on every walk, and trusted no longer than that.
//!
//! Deliberately not used: `pthread_getattr_np`, which allocates and takes locks; the layout of glibc's `struct pthread`.

use super::machine;
use core::ptr::with_exposed_provenance;
use core::sync::atomic::{AtomicUsize, Ordering};

/// The smallest page: where they are larger, the kernel is asked more often than it need be.
const PAGE: usize = 4096;

/// Most pages asked about to find a stack's end: 64 MiB.
const PROBED_PAGES_MAX: usize = 16 * 1024;

/// `__libc_stack_end`, once [`prepare`] ran. Relaxed: a constant of the process.
static MAIN_STACK_END: AtomicUsize = AtomicUsize::new(0);

/// Resolves the end of the main thread's stack. Not for the hook: `dlsym` locks.
pub(super) fn prepare() {
    // SAFETY: a NUL-terminated name; `dlsym` may be called by any thread.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__libc_stack_end".as_ptr()) };
    if !address.is_null() {
        // SAFETY: the loader defines `__libc_stack_end` as a `void *` that it writes before `main`.
        let end = unsafe { address.cast::<usize>().read() };
        MAIN_STACK_END.store(end, Ordering::Relaxed);
    }
}

/// What is known of the calling thread's stack. All-zero is valid: nothing known yet.
pub(super) struct StackBounds {
    low: usize,
    high: usize,
    /// A range which turned out not to be the thread's own stack.
    foreign_low: usize,
    foreign_high: usize,
}

impl StackBounds {
    pub(super) const NOTHING: Self = Self { low: 0, high: 0, foreign_low: 0, foreign_high: 0 };

    /// The first address at which no whole word of the thread's own stack starts any more, if `sp` is on that stack, else 0.
    ///
    /// All of `sp..limit` (and 7 bytes more) is readable for as long as the thread runs.
    #[inline(always)]
    pub(super) fn limit_from(&mut self, sp: usize) -> usize {
        if sp.wrapping_sub(self.low) < self.high.wrapping_sub(self.low) { self.high - 7 } else { self.enter(sp) }
    }

    /// Whether the word at `address` is on the thread's own stack.
    pub(super) fn contains_word(&self, address: usize) -> bool {
        address >= self.low && self.high > 7 && address < self.high - 7
    }

    /// Whether all words from `sp` to `slot`, which is not below, are on the thread's own stack.
    #[inline(always)]
    pub(super) fn contain(&self, sp: usize, slot: usize) -> bool {
        sp >= self.low && slot.wrapping_add(7) < self.high
    }

    /// Whether `sp` may be the stack pointer of a frame on the thread's own stack, as far as that is known.
    pub(super) fn limit_if_known(&self, sp: usize) -> usize {
        if (self.low..self.high).contains(&sp) { self.high - 7 } else { 0 }
    }

    #[cold]
    #[inline(never)]
    fn enter(&mut self, sp: usize) -> usize {
        if (self.foreign_low..self.foreign_high).contains(&sp) {
            return 0;
        }
        let end = if self.high != 0 {
            self.low
        } else if is_main_thread() {
            MAIN_STACK_END.load(Ordering::Relaxed)
        } else {
            machine::thread_pointer()
        };
        let start = page_of(sp);
        let mut page = start;
        // An end below `sp` proves nothing, nor does one so far off that it cannot be this stack's.
        let plausible = sp < end && (end - start) / PAGE < PROBED_PAGES_MAX;
        while plausible && page < end && is_readable(page) {
            page += PAGE;
        }
        if plausible && page >= end {
            self.low = start;
            self.high = self.high.max(end);
            return self.high - 7;
        }
        self.foreign_low = start;
        self.foreign_high = page.max(start.saturating_add(PAGE));
        0
    }
}

/// Memory that is proven readable for the length of one walk, on stacks that are not (known to be) the thread's own. All-zero: none.
pub(super) struct Proven {
    low: usize,
    high: usize,
}

impl Proven {
    pub(super) const NOTHING: Self = Self { low: 0, high: 0 };

    /// The word at `address`, or none where no memory can be read.
    pub(super) fn read(&mut self, own: &StackBounds, address: usize) -> Option<usize> {
        let end = address.checked_add(8)?;
        let is_proven = address >= self.low && end <= self.high;
        if !is_proven && !own.contains_word(address) {
            let (first, last) = (page_of(address), page_of(end - 1));
            if !is_readable(first) || (last != first && !is_readable(last)) {
                return None;
            }
            // Stacks are walked upward: adjacent pages make one range.
            self.low = if self.high == first { self.low } else { first };
            self.high = last.checked_add(PAGE)?;
        }
        // SAFETY: on the thread's own stack, or the kernel has just read from the page(s); a stack that a frame of this thread
        // lives on is not unmapped while the thread is in this function.
        Some(unsafe { load(address) })
    }
}

/// Reads one word of stack memory.
///
/// # Safety
/// The 8 bytes at `address` are readable.
#[inline(always)]
pub(super) unsafe fn load(address: usize) -> usize {
    // SAFETY: readable by this function's contract; no alignment is asked for. The word may belong to any frame of this thread,
    // which cannot run meanwhile.
    unsafe { with_exposed_provenance::<usize>(address).read_unaligned() }
}

fn page_of(address: usize) -> usize {
    address & !(PAGE - 1)
}

/// Whether the kernel can read the start of the page. Leaves `errno` alone.
///
/// `rt_sigprocmask` with an impossible `how` copies the new mask in first (EFAULT if it cannot) and only then refuses (EINVAL). It
/// is in every seccomp profile, and it tells an inaccessible page, which `mincore` does not.
fn is_readable(page: usize) -> bool {
    // SAFETY: changes nothing, since `how` is invalid.
    let result = unsafe { machine::system_call(libc::SYS_rt_sigprocmask, [usize::MAX, page, 0, 8]) };
    result == -(libc::EINVAL as isize)
}

/// An address at the very top of the calling thread's stack; `None` on the main thread, whose stack the kernel knows.
pub(crate) fn top_of_thread() -> Option<usize> {
    (!is_main_thread()).then(machine::thread_pointer)
}

/// Whether the calling thread is the process's first: its stack is then the one the kernel made.
fn is_main_thread() -> bool {
    // SAFETY: getpid and gettid take no arguments and change nothing.
    let [process, thread] =
        [libc::SYS_getpid, libc::SYS_gettid].map(|number| unsafe { machine::system_call(number, [0; 4]) });
    process == thread
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_stack_is_found() {
        let here = 0u64;
        let sp = &raw const here as usize;
        let mut bounds = StackBounds::NOTHING;
        let limit = bounds.limit_from(sp);
        assert!(limit > sp, "{limit:#x} is not above {sp:#x}");
        assert!(limit - sp < 64 << 20);
        assert!(bounds.contains_word(sp));
        assert!(!bounds.contains_word(limit));
        assert_eq!(bounds.limit_from(sp), limit);
        // Deeper, within the same mapping.
        assert_eq!(bounds.limit_from(sp - 2 * PAGE), limit);
    }

    #[test]
    fn finds_the_stack_of_a_thread() {
        prepare();
        own_stack_is_found();
        std::thread::spawn(own_stack_is_found).join().expect("no panic");
    }

    #[test]
    fn other_memory_is_no_stack_of_ours() {
        prepare();
        let mut bounds = StackBounds::NOTHING;
        let heap = vec![0u8; 1 << 20];
        assert_eq!(bounds.limit_from(heap.as_ptr() as usize), 0);
        assert_eq!(bounds.limit_from(0x1000), 0);
        assert_eq!(bounds.limit_from(usize::MAX & !15), 0);
        own_stack_is_found();
    }

    #[test]
    fn unreadable_pages_are_told() {
        let bounds = StackBounds::NOTHING;
        let mut proven = Proven::NOTHING;
        // SAFETY: a fresh anonymous mapping of two pages; the second is made inaccessible; nothing else refers to it.
        let start = unsafe {
            let start = libc::mmap(
                core::ptr::null_mut(),
                2 * PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            assert_ne!(start, libc::MAP_FAILED);
            libc::mprotect(start.byte_add(PAGE), PAGE, libc::PROT_NONE);
            start.expose_provenance()
        };
        assert_eq!(proven.read(&bounds, start), Some(0));
        assert_eq!(proven.read(&bounds, start + PAGE - 8), Some(0));
        assert_eq!(proven.read(&bounds, start + PAGE - 7), None);
        assert_eq!(proven.read(&bounds, start + PAGE), None);
        assert_eq!(proven.read(&bounds, 0), None);
        assert_eq!(proven.read(&bounds, usize::MAX - 3), None);
        // SAFETY: the mapping made above.
        unsafe { libc::munmap(core::ptr::with_exposed_provenance_mut(start), 2 * PAGE) };
    }
}
