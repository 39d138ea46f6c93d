//! The checker of a thread, within reach of callbacks without an argument and of the allocator.

use crate::framehop_witness::FramehopWitness;
use crate::unwind_support::{Checker, Oracle};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};

/// The depth of walks, but where a workload is about depth.
pub(crate) const DEPTH: u32 = 256;

/// Whether each checker is shown one falsified stack.
pub(crate) static IS_PLANTED: AtomicBool = AtomicBool::new(false);

thread_local! {
    static CHECKER: Cell<*mut Checker> = const { Cell::new(null_mut()) };
    /// Every how many allocations a stack is checked; 0 for never.
    static EVERY: Cell<u32> = const { Cell::new(0) };
    static ALLOCATIONS: Cell<u32> = const { Cell::new(0) };
}

/// What checkers found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) stacks: u64,
    pub(crate) frames: u64,
    pub(crate) taken_over: u64,
    pub(crate) mistakes: Vec<String>,
}

impl Found {
    pub(crate) fn add(&mut self, other: Self) {
        self.stacks += other.stacks;
        self.frames += other.frames;
        self.taken_over += other.taken_over;
        self.mistakes.extend(other.mistakes);
    }

    pub(crate) fn of(checker: Checker) -> Self {
        let Checker { checks, frames, taken_over, mistakes, .. } = checker;
        Self { stacks: checks, frames, taken_over, mistakes }
    }
}

pub(crate) fn checker(depth: u32) -> Checker {
    let mut checker = Checker::new(depth);
    checker.witness = Some(Box::new(FramehopWitness::new(IS_PLANTED.load(Ordering::Relaxed))));
    checker
}

/// Runs `body` on this thread with a checker that [`check_here`] uses.
pub(crate) fn with_checker(depth: u32, body: impl FnOnce()) -> Found {
    let mut checker = checker(depth);
    CHECKER.set(&raw mut checker);
    body();
    CHECKER.set(null_mut());
    Found::of(checker)
}

/// The same, and every so many allocations of `body` are checked, too.
pub(crate) fn with_checked_allocations(every: u32, body: impl FnOnce()) -> Found {
    with_checker(DEPTH, || {
        EVERY.set(every);
        body();
        EVERY.set(0);
    })
}

/// Checks the stack from here outward; does nothing while this thread is checking already.
#[inline(never)]
pub(crate) fn check_here() {
    let checker = CHECKER.replace(null_mut());
    // SAFETY: null or set by `with_checker` on this thread, whose checker nothing else uses while the cell is null.
    if let Some(checker) = unsafe { checker.as_mut() } {
        checker.check(Oracle::Backtrace);
        CHECKER.set(checker);
    }
}

/// How many stacks the checker of this thread has compared.
pub(crate) fn checks_so_far() -> u64 {
    // SAFETY: as above.
    unsafe { CHECKER.get().as_ref() }.map_or(0, |checker| checker.checks)
}

pub(crate) struct Checking;

impl Checking {
    #[inline(never)]
    fn note(&self) {
        let every = EVERY.get();
        if every > 0 {
            let number = ALLOCATIONS.get().wrapping_add(1);
            ALLOCATIONS.set(number);
            if number.is_multiple_of(every) {
                check_here();
            }
        }
    }
}

// SAFETY: hands every call to the system's allocator, unchanged.
unsafe impl GlobalAlloc for Checking {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.note();
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.note();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
