//! Memory for looking names up, given back to the kernel when it is done.
//!
//! Reading debug information takes tens of megabytes for a moment. In the program's own heap they would stay: a C
//! allocator keeps what was freed between blocks that live on. So what the writer thread allocates while it looks names
//! up comes from a region of its own, in chunks that are given back as soon as no block in them is live. Blocks that
//! outlive the look-up (a library may keep a cache) just keep their chunk.
//!
//! One thread at a time allocates here; any thread may free.

use super::{byte_map, memory};
use std::alloc::Layout;
use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

const CHUNK_LOG2: u32 = 20;
const CHUNK: usize = 1 << CHUNK_LOG2;
const CHUNKS: usize = 2048;
const REGION: usize = CHUNKS << CHUNK_LOG2;

/// Start of the region; before it is reserved a place that no block is at.
static START: AtomicUsize = AtomicUsize::new(usize::MAX - REGION);

/// The chunks, by number.
static RUNS: [Run; CHUNKS] = [const { Run { chunks: AtomicU32::new(0), live: AtomicU32::new(0) } }; CHUNKS];

/// A chunk or several in a row that are taken together.
struct Run {
    /// Chunks taken from here on; 0 when this one is free, [`INNER`] when it belongs to an earlier one's run.
    chunks: AtomicU32,
    /// Live blocks, and one while the run is being filled.
    live: AtomicU32,
}

const INNER: u32 = u32::MAX;

/// Held while names are looked up.
static LOOKING_UP_NOW: Mutex<()> = Mutex::new(());

thread_local! {
    /// Whether this thread is looking names up, and the part of its chunk that is left.
    static LOOKING_UP: Cell<bool> = const { Cell::new(false) };
    static OPEN: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

/// Runs `work` with its allocations in the region. Called on threads of the recorder, or while they work for it.
pub(super) fn while_looking_up<T>(work: impl FnOnce() -> T) -> T {
    struct Close;
    impl Drop for Close {
        fn drop(&mut self) {
            LOOKING_UP.with(|looking| looking.set(false));
            let (_, end) = OPEN.with(|open| open.replace((0, 0)));
            if end != 0 {
                let_go((end - CHUNK - START.load(Ordering::Relaxed)) >> CHUNK_LOG2);
            }
        }
    }
    let _one = LOOKING_UP_NOW.lock().unwrap_or_else(PoisonError::into_inner);
    reserve();
    LOOKING_UP.with(|looking| looking.set(true));
    let _close = Close;
    work()
}

/// Whether the calling thread is looking names up.
pub(super) fn is_looking_up() -> bool {
    LOOKING_UP.with(Cell::get)
}

fn reserve() {
    if START.load(Ordering::Relaxed) == usize::MAX - REGION
        && let Some(region) = memory::map_zeroed(REGION)
    {
        START.store(region.as_ptr() as usize, Ordering::Relaxed);
    }
}

/// A block in the region, marked in the byte map; null when there is no room, or the layout is unusual.
pub(super) fn alloc(layout: Layout) -> *mut u8 {
    let block = place(layout);
    if !block.is_null() && !byte_map::set_scratch(block as usize) {
        let_go((block as usize - START.load(Ordering::Relaxed)) >> CHUNK_LOG2);
        return ptr::null_mut();
    }
    block
}

fn place(layout: Layout) -> *mut u8 {
    if START.load(Ordering::Relaxed) == usize::MAX - REGION || layout.align() > 4096 {
        return ptr::null_mut();
    }
    if layout.size() > CHUNK / 4 {
        let chunks = layout.size().div_ceil(CHUNK);
        return take_run(chunks).map_or(ptr::null_mut(), |place| address_of(place) as *mut u8);
    }
    let (next, end) = OPEN.with(Cell::get);
    let start = next.next_multiple_of(layout.align().max(16));
    if end != 0 && start + layout.size() <= end {
        OPEN.with(|open| open.set((start + layout.size(), end)));
        RUNS[(start - START.load(Ordering::Relaxed)) >> CHUNK_LOG2].live.fetch_add(1, Ordering::Relaxed);
        return start as *mut u8;
    }
    // The run's first count is for its being filled.
    let Some(place) = take_run(1) else { return ptr::null_mut() };
    if end != 0 {
        let_go((end - CHUNK - START.load(Ordering::Relaxed)) >> CHUNK_LOG2);
    }
    OPEN.with(|open| open.set((address_of(place), address_of(place) + CHUNK)));
    self::place(layout)
}

/// Frees a block of the region.
pub(super) fn dealloc(block: usize) {
    byte_map::clear(block);
    let_go((block - START.load(Ordering::Relaxed)) >> CHUNK_LOG2);
}

fn address_of(place: usize) -> usize {
    START.load(Ordering::Relaxed) + (place << CHUNK_LOG2)
}

/// The first free run of so many chunks, with one count on it.
fn take_run(chunks: usize) -> Option<usize> {
    let is_free = |place: usize| RUNS[place].chunks.load(Ordering::Acquire) == 0;
    let mut place = 0;
    while place + chunks <= CHUNKS {
        match (place..place + chunks).rev().find(|at| !is_free(*at)) {
            Some(taken) => place = taken + 1,
            None => {
                // Relaxed: one thread at a time takes runs.
                RUNS[place].live.store(1, Ordering::Relaxed);
                for inner in &RUNS[place + 1..place + chunks] {
                    inner.chunks.store(INNER, Ordering::Relaxed);
                }
                RUNS[place].chunks.store(chunks as u32, Ordering::Relaxed);
                return Some(place);
            }
        }
    }
    None
}

/// Takes one count off a run and gives its memory back when that was the last.
fn let_go(place: usize) {
    // AcqRel: whoever gives the memory back must come after everyone else's use of it.
    if RUNS[place].live.fetch_sub(1, Ordering::AcqRel) != 1 {
        return;
    }
    let chunks = RUNS[place].chunks.load(Ordering::Relaxed) as usize;
    memory::keeping_errno(|| {
        // SAFETY: the range lies in the region, and no block in it is live.
        unsafe { libc::madvise(address_of(place) as *mut libc::c_void, chunks << CHUNK_LOG2, libc::MADV_DONTNEED) };
    });
    for at in (place..place + chunks).rev() {
        // Release: the writer may take the chunk from here on.
        RUNS[at].chunks.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 8).unwrap()
    }

    fn chunks_taken() -> usize {
        RUNS.iter().filter(|run| run.chunks.load(Ordering::Relaxed) != 0).count()
    }

    #[test]
    fn chunks_go_back_when_their_last_block_does() {
        let (small, large) = while_looking_up(|| {
            let small: Vec<usize> = (0..5_000).map(|n| alloc(layout(n % 999 + 1)) as usize).collect();
            (small, alloc(layout(3 * CHUNK - 5)) as usize)
        });
        let is_ours = |block: &usize| byte_map::block_at(*block) == byte_map::Block::Scratch;
        assert!(small.iter().all(is_ours) && is_ours(&large));
        let taken = chunks_taken();
        assert!(taken >= 3 + 2, "{taken}");
        dealloc(large);
        assert!(!is_ours(&large));
        assert_eq!(chunks_taken(), taken - 3);
        let (kept, freed) = small.split_first().unwrap();
        freed.iter().for_each(|block| dealloc(*block));
        assert_eq!(chunks_taken(), 1, "one block keeps its chunk");
        dealloc(*kept);
        assert_eq!(chunks_taken(), 0);
        // Memory that comes back is zeroed.
        let again = while_looking_up(|| alloc(layout(4096)));
        // SAFETY: the block is live and 4096 bytes long.
        assert!((0..4096).all(|at| unsafe { *again.add(at) } == 0));
        dealloc(again as usize);
    }
}
