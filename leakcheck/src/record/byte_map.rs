//! Which addresses hold a block of ours: one byte per 16 bytes of address space, in lazily mapped chunks.
//!
//! A tracked block is at least 16 bytes long, so at most one starts in a granule; the byte holds the low bits of its
//! address plus one, so that an untracked neighbour in the same granule is told apart. Stores are plain: a block's byte
//! is written only by the thread that owns the block at that moment, and handing a block to another thread orders the
//! two. Addresses above those that memory is given at unless others are asked for are not tracked.

use super::memory;
use crate::unwind::ADDRESS_BITS;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicUsize, Ordering};

const GRANULE_LOG2: u32 = 4;
/// One chunk of the map covers 64 MiB of addresses with 4 MiB of bytes.
const CHUNK_SPAN_LOG2: u32 = 26;
const CHUNK_BYTES: usize = 1 << (CHUNK_SPAN_LOG2 - GRANULE_LOG2);
const CHUNKS: usize = 1 << (ADDRESS_BITS - CHUNK_SPAN_LOG2);

/// 16 MiB of untouched zero pages for 47 bits of address; one page of it serves 32 GiB of addresses.
static DIRECTORY: [AtomicPtr<AtomicU8>; CHUNKS] = [const { AtomicPtr::new(ptr::null_mut()) }; CHUNKS];

/// The chunks in use, for the statistic alone; those beyond the list (64 GiB of heap) are not counted in it.
static IN_USE: [AtomicPtr<AtomicU8>; 1024] = [const { AtomicPtr::new(ptr::null_mut()) }; 1024];
static IN_USE_LEN: AtomicUsize = AtomicUsize::new(0);

/// What the map says of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Block {
    /// A tracked block starts there.
    Tracked,
    /// A block of the recorder's own starts there.
    Scratch,
    /// Neither.
    Other,
}

/// A byte of the map that is not blank.
#[derive(Clone, Copy)]
pub(super) struct Mark(&'static AtomicU8);

impl Mark {
    /// The mark where a block at `address` would have one; none where surely no block of ours starts.
    #[inline(always)]
    pub(super) fn at(address: usize) -> Option<Self> {
        // Relaxed: ordered by whatever handed the block to this thread.
        byte_of(address).filter(|byte| byte.load(Ordering::Relaxed) != 0).map(Self)
    }

    /// Whether it says that a tracked block starts at this very address of its granule.
    #[inline(always)]
    pub(super) fn is_of_tracked(self, address: usize) -> bool {
        // Relaxed: as in `at`.
        self.0.load(Ordering::Relaxed) == mark(address)
    }

    /// Takes it away.
    #[inline(always)]
    pub(super) fn clear(self) {
        // Relaxed: as in `at`.
        self.0.store(0, Ordering::Relaxed);
    }
}

/// Which kind of block starts at `address`.
#[inline(always)]
pub(super) fn block_at(address: usize) -> Block {
    // Relaxed: as in `Mark::at`.
    match byte_of(address).map_or(0, |byte| byte.load(Ordering::Relaxed)) {
        byte if byte == mark(address) => Block::Tracked,
        SCRATCH => Block::Scratch,
        _ => Block::Other,
    }
}

/// Marks `address`, a multiple of 16, as the start of a block of the recorder's own; false when the map has no room for it.
pub(super) fn set_scratch(address: usize) -> bool {
    let byte = byte_of(address).or_else(|| map_chunk(address));
    // Relaxed: as in `set`.
    byte.inspect(|byte| byte.store(SCRATCH, Ordering::Relaxed)).is_some()
}

/// Marks `address` as the start of a tracked block; false when the map has no room for it.
#[inline]
pub(super) fn set(address: usize) -> bool {
    match byte_of(address).or_else(|| map_chunk(address)) {
        Some(byte) => {
            // Relaxed: as in `Mark::at`.
            byte.store(mark(address), Ordering::Relaxed);
            true
        }
        None => false,
    }
}

/// Takes the mark of `address` away.
#[inline]
pub(super) fn clear(address: usize) {
    if let Some(byte) = byte_of(address) {
        // Relaxed: as in `Mark::at`.
        byte.store(0, Ordering::Relaxed);
    }
}

/// No address's [`mark`].
const SCRATCH: u8 = 32;

#[inline(always)]
const fn mark(address: usize) -> u8 {
    (address as u8 & 15) + 1
}

#[inline(always)]
fn byte_of(address: usize) -> Option<&'static AtomicU8> {
    // Acquire: pairs with the publication of the chunk (free on x86-64).
    let chunk = DIRECTORY.get(address >> CHUNK_SPAN_LOG2)?.load(Ordering::Acquire);
    if chunk.is_null() {
        return None;
    }
    let offset = (address >> GRANULE_LOG2) & (CHUNK_BYTES - 1);
    // SAFETY: the chunk holds CHUNK_BYTES zeroed bytes and is never unmapped; `offset` is below that.
    Some(unsafe { &*chunk.add(offset) })
}

#[cold]
fn map_chunk(address: usize) -> Option<&'static AtomicU8> {
    let slot = DIRECTORY.get(address >> CHUNK_SPAN_LOG2)?;
    let fresh = memory::map_zeroed(CHUNK_BYTES)?;
    let chunk = fresh.as_ptr().cast();
    // Release: publishes the mapping.
    if slot.compare_exchange(ptr::null_mut(), chunk, Ordering::Release, Ordering::Relaxed).is_err() {
        // SAFETY: just mapped and never published.
        unsafe { memory::unmap(fresh, CHUNK_BYTES) };
    } else if let Some(listed) = IN_USE.get(IN_USE_LEN.fetch_add(1, Ordering::Relaxed)) {
        // Relaxed: a statistic.
        listed.store(chunk, Ordering::Relaxed);
    }
    byte_of(address)
}

/// Resident bytes of the map, as far as the kernel tells.
pub(super) fn resident_bytes() -> usize {
    const PAGE: usize = 4096;
    let mut pages = [0_u8; CHUNK_BYTES / PAGE];
    let mut resident = 0;
    for slot in &IN_USE {
        // Relaxed: a statistic; a mapping is complete before it is listed.
        let chunk = slot.load(Ordering::Relaxed);
        if chunk.is_null() {
            break;
        }
        // SAFETY: `chunk` is a mapping of CHUNK_BYTES and `pages` has one byte for each of its pages.
        if unsafe { libc::mincore(chunk.cast(), CHUNK_BYTES, pages.as_mut_ptr().cast()) } == 0 {
            resident += pages.iter().filter(|page| **page & 1 == 1).count() * PAGE;
        }
    }
    resident
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_exact_within_a_granule() {
        let base = 0x1234_5678_9000;
        assert!(Mark::at(base).is_none());
        assert!(set(base + 8));
        assert_eq!(block_at(base + 8), Block::Tracked);
        assert_eq!(block_at(base), Block::Other, "an untracked neighbour in the same granule");
        clear(base + 8);
        assert!(Mark::at(base + 8).is_none());
        assert!(set_scratch(base));
        assert_eq!(block_at(base), Block::Scratch);
        clear(base);
        assert_eq!(block_at(base), Block::Other);
    }

    #[test]
    fn addresses_beyond_the_map_are_untracked() {
        for address in [1 << ADDRESS_BITS, usize::MAX] {
            assert!(!set(address));
            assert!(Mark::at(address).is_none());
            assert_eq!(block_at(address), Block::Other);
            clear(address);
        }
    }
}
