//! The ledger: a global allocator around the recorder's that writes down what must come out.
//!
//! Its own memory comes from the system directly. Only allocations of threads that [`watch`] themselves are written down; frees and
//! resizings are of those blocks, whoever does them.

use leakcheck::Leakcheck;
use leakcheck::model::Counters;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What one stack's blocks came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) allocated_blocks: u64,
    pub(crate) allocated_bytes: u64,
    pub(crate) freed_blocks: u64,
    pub(crate) freed_bytes: u64,
    pub(crate) resized: u64,
}

impl From<Counters> for Entry {
    fn from(counters: Counters) -> Self {
        Self {
            allocated_blocks: counters.allocated.blocks,
            allocated_bytes: counters.allocated.bytes,
            freed_blocks: counters.freed.blocks,
            freed_bytes: counters.freed.bytes,
            resized: counters.resized,
        }
    }
}

#[derive(Default)]
struct Book {
    numbers: HashMap<Vec<usize>, usize>,
    entries: Vec<Entry>,
    /// Live blocks by address, with the number of the entry they belong to.
    blocks: HashMap<usize, usize>,
    is_planted: bool,
}

static BOOK: Mutex<Option<Book>> = Mutex::new(None);
/// Whether anything is written down. Relaxed: it changes while one thread runs.
static IS_OPEN: AtomicBool = AtomicBool::new(false);

thread_local! {
    static IS_WATCHED: Cell<bool> = const { Cell::new(false) };
    /// This thread is writing: what it allocates is the ledger's.
    static IS_WRITING: Cell<bool> = const { Cell::new(false) };
}

fn writing<T>(body: impl FnOnce(&mut Book) -> T) -> Option<T> {
    if !IS_OPEN.load(Ordering::Relaxed) || IS_WRITING.replace(true) {
        return None;
    }
    let result = book().as_mut().map(body);
    IS_WRITING.set(false);
    result
}

fn book() -> MutexGuard<'static, Option<Book>> {
    BOOK.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn prepare(is_planted: bool) {
    *book() = Some(Book { is_planted, ..Book::default() });
    // The first call of the oracle loads and initialises what it needs.
    backtrace::trace(|_| true);
}

pub(crate) fn open() {
    IS_OPEN.store(true, Ordering::Relaxed);
}

pub(crate) fn close() {
    IS_OPEN.store(false, Ordering::Relaxed);
}

/// Writes down what this thread allocates in `body`.
pub(crate) fn watch<T>(body: impl FnOnce() -> T) -> T {
    IS_WATCHED.set(true);
    let result = body();
    IS_WATCHED.set(false);
    result
}

/// Leaf-first stacks from the caller of the allocation method outward, and what was allocated there.
pub(crate) fn entries() -> HashMap<Vec<usize>, Entry> {
    let mut book = book();
    let book = book.as_mut().expect("made by `prepare`");
    let mut entries: HashMap<_, _> =
        book.numbers.iter().map(|(stack, number)| (stack.clone(), book.entries[*number])).collect();
    if book.is_planted
        && let Some(entry) = entries.values_mut().next()
    {
        entry.allocated_blocks += 1;
    }
    entries
}

/// Writes down a block of the caller's caller.
#[inline(never)]
fn born(block: *mut u8, size: usize) {
    if block.is_null() || !IS_WATCHED.get() {
        return;
    }
    let own = born as *const ();
    writing(|book| {
        let mut stack = Vec::with_capacity(256);
        let (mut is_past, mut is_caller) = (false, true);
        // SAFETY: concurrent calls into libgcc's unwinder are safe, and symbols, which need a lock, are not asked for.
        unsafe {
            backtrace::trace_unsynchronized(|frame| {
                let address = frame.ip().expose_provenance();
                if is_past && address != 0 && !std::mem::take(&mut is_caller) {
                    stack.push(address);
                }
                is_past |= std::ptr::eq(frame.symbol_address().cast::<()>(), own);
                true
            });
        }
        assert!(is_past, "the oracle did not pass this function");
        let next = book.entries.len();
        let number = *book.numbers.entry(stack).or_insert(next);
        if number == next {
            book.entries.push(Entry::default());
        }
        book.entries[number].allocated_blocks += 1;
        book.entries[number].allocated_bytes += size as u64;
        book.blocks.insert(block as usize, number);
    });
}

fn freed(block: *mut u8, size: usize) {
    writing(|book| {
        if let Some(number) = book.blocks.remove(&(block as usize)) {
            book.entries[number].freed_blocks += 1;
            book.entries[number].freed_bytes += size as u64;
        }
    });
}

fn resized(number: usize, block: *mut u8, before: usize, after: usize) {
    writing(|book| {
        let entry = &mut book.entries[number];
        entry.resized += 1;
        entry.allocated_bytes += after.saturating_sub(before) as u64;
        entry.freed_bytes += before.saturating_sub(after) as u64;
        book.blocks.insert(block as usize, number);
    });
}

pub(crate) struct Ledger {
    pub(crate) inner: Leakcheck,
}

// SAFETY: hands every call to the recorder's allocator or, for the ledger's own memory, to the one that it hands untracked blocks
// to itself.
unsafe impl GlobalAlloc for Ledger {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract, here and below.
        let block = unsafe { if IS_WRITING.get() { System.alloc(layout) } else { self.inner.alloc(layout) } };
        born(block, layout.size());
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let block =
            unsafe { if IS_WRITING.get() { System.alloc_zeroed(layout) } else { self.inner.alloc_zeroed(layout) } };
        born(block, layout.size());
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // Before: afterwards the address may be another thread's.
        freed(block, layout.size());
        // SAFETY: as above.
        unsafe { self.inner.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if IS_WRITING.get() {
            // SAFETY: a block of the ledger's own, from the system.
            return unsafe { System.realloc(block, layout, size) };
        }
        let number = writing(|book| book.blocks.remove(&(block as usize))).flatten();
        // SAFETY: as above.
        let moved = unsafe { self.inner.realloc(block, layout, size) };
        if let Some(number) = number {
            assert!(!moved.is_null(), "these programs never run out of memory");
            resized(number, moved, layout.size(), size);
        }
        moved
    }
}
