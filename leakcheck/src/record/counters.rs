//! Per-thread counters by cell.
//!
//! Each thread adds to its own records with plain loads and stores, so no free and no allocation touches a contended
//! line; the collector sums over threads. Records are handed on to later threads without being cleared: only the sums
//! mean anything. The shared records of [`Counters::shared`] are for code that has no thread state (dying threads,
//! signal handlers that interrupted the recorder) and are added to atomically.

use super::memory;
use super::weight::Weight;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

const CHUNK_LOG2: u32 = 8;
pub(super) const CHUNK_RECORDS: usize = 1 << CHUNK_LOG2;
const CHUNKS: usize = 1 << 14;

/// Cells that can be counted.
pub(super) const CELLS_MAX: u32 = (CHUNKS * CHUNK_RECORDS) as u32;

/// What one thread counted for one cell. Blocks are in units of 1/1024.
#[repr(C)]
pub(super) struct Record {
    pub(super) allocated_units: AtomicU64,
    pub(super) allocated_bytes: AtomicU64,
    pub(super) freed_units: AtomicU64,
    pub(super) freed_bytes: AtomicU64,
    /// Smallest size seen, and in the high half how far the largest lies above it; 0 when none was.
    sizes: AtomicU64,
    pub(super) resized: AtomicU32,
}

type Chunk = [Record; CHUNK_RECORDS];

/// One thread's records. All-zero bytes are an empty set.
#[repr(C)]
pub(super) struct Counters {
    chunks: [AtomicPtr<Chunk>; CHUNKS],
}

/// How a record is added to.
pub(super) trait Add {
    fn add(target: &AtomicU64, amount: u64, order: Ordering);
}

/// The owner's way: no other thread writes, so a load and a store do.
pub(super) struct Own;

/// The shared way.
pub(super) struct Shared;

impl Add for Own {
    #[inline(always)]
    fn add(target: &AtomicU64, amount: u64, order: Ordering) {
        // Relaxed load: only this thread writes.
        target.store(target.load(Ordering::Relaxed).wrapping_add(amount), order);
    }
}

impl Add for Shared {
    fn add(target: &AtomicU64, amount: u64, order: Ordering) {
        target.fetch_add(amount, order);
    }
}

impl Record {
    #[inline(always)]
    pub(super) fn allocated<A: Add>(&self, weight: Weight, size: usize) {
        // Release: whoever sees a free of this block counted (with acquire) sees its allocation counted too.
        A::add(&self.allocated_units, weight.block_units, Ordering::Release);
        A::add(&self.allocated_bytes, weight.bytes, Ordering::Release);
        self.seen_size(size);
    }

    #[inline(always)]
    pub(super) fn freed<A: Add>(&self, weight: Weight) {
        // Release: as in `allocated`, the chain from the allocation goes through this store.
        A::add(&self.freed_units, weight.block_units, Ordering::Release);
        A::add(&self.freed_bytes, weight.bytes, Ordering::Release);
    }

    /// A `realloc`: the block stays, the difference is counted.
    pub(super) fn resized<A: Add>(&self, before: Weight, after: Weight, size: usize) {
        if after.bytes >= before.bytes {
            A::add(&self.allocated_bytes, after.bytes - before.bytes, Ordering::Release);
        } else {
            A::add(&self.freed_bytes, before.bytes - after.bytes, Ordering::Release);
        }
        // A larger sampled block stands for fewer blocks of its size.
        if after.block_units >= before.block_units {
            A::add(&self.allocated_units, after.block_units - before.block_units, Ordering::Release);
        } else {
            A::add(&self.freed_units, before.block_units - after.block_units, Ordering::Release);
        }
        // Relaxed: a statistic. A lost update by a racing shared writer is accepted here.
        self.resized.store(self.resized.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        self.seen_size(size);
    }

    #[cfg(feature = "groups")]
    /// Takes back an allocation that was charged to the wrong cell and not yet seen by the program.
    pub(super) fn unallocated(&self, weight: Weight) {
        Own::add(&self.allocated_units, weight.block_units.wrapping_neg(), Ordering::Release);
        Own::add(&self.allocated_bytes, weight.bytes.wrapping_neg(), Ordering::Release);
    }

    /// Notes that a block of this size was here. Sizes of 4 GiB and more count as one byte less than that.
    #[inline(always)]
    fn seen_size(&self, size: usize) {
        // Relaxed, here and below: statistics. Racing shared writers may lose an extreme; accepted.
        let sizes = self.sizes.load(Ordering::Relaxed);
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        if size.wrapping_sub(sizes as u32) > (sizes >> 32) as u32 {
            self.extend_sizes(size);
        }
    }

    #[cold]
    fn extend_sizes(&self, size: u32) {
        let (smallest, largest) = self.size_range().unwrap_or((size, size));
        let (smallest, largest) = (smallest.min(size), largest.max(size));
        self.sizes.store(u64::from(largest - smallest) << 32 | u64::from(smallest), Ordering::Relaxed);
    }

    /// Smallest and largest size seen.
    pub(super) fn size_range(&self) -> Option<(u32, u32)> {
        let sizes = self.sizes.load(Ordering::Relaxed);
        (sizes != 0).then_some((sizes as u32, (sizes as u32).saturating_add((sizes >> 32) as u32)))
    }

    /// Sets everything back to zero. Only for a cell that no thread can count for any more.
    pub(super) fn clear(&self) {
        for field in [&self.allocated_units, &self.allocated_bytes, &self.freed_units, &self.freed_bytes, &self.sizes] {
            // Relaxed: the cell is handed out again through a release store.
            field.store(0, Ordering::Relaxed);
        }
        self.resized.store(0, Ordering::Relaxed);
    }
}

impl Counters {
    pub(super) const fn new() -> Self {
        Self { chunks: [const { AtomicPtr::new(ptr::null_mut()) }; CHUNKS] }
    }

    /// The record of a cell, made when it is not there; `None` without memory or for a number that is no cell.
    #[inline(always)]
    pub(super) fn record(&self, cell: u32) -> Option<&Record> {
        // Acquire: pairs with the publication in `map_chunk` (needed for the shared records and the collector).
        let chunk = self.chunks.get((cell >> CHUNK_LOG2) as usize)?.load(Ordering::Acquire);
        let chunk = if chunk.is_null() { self.map_chunk(cell)? } else { chunk };
        // SAFETY: a chunk is a zeroed mapping of CHUNK_RECORDS records, is never unmapped, and zero is valid for atomics.
        Some(unsafe { &(*chunk)[cell as usize % CHUNK_RECORDS] })
    }

    /// The record of a cell, if it was made before.
    #[inline(always)]
    pub(super) fn existing_record(&self, cell: u32) -> Option<&Record> {
        // Acquire: as in `record`.
        let chunk = self.chunks.get((cell >> CHUNK_LOG2) as usize)?.load(Ordering::Acquire);
        // SAFETY: as in `record`.
        unsafe { chunk.as_ref() }.map(|chunk| &chunk[cell as usize % CHUNK_RECORDS])
    }

    /// The records that exist in the chunk of `chunk_number`, with the number of their first cell.
    pub(super) fn chunk(&self, chunk_number: usize) -> Option<(u32, &[Record])> {
        // Acquire: pairs with the publication in `map_chunk`.
        let chunk = self.chunks.get(chunk_number)?.load(Ordering::Acquire);
        if chunk.is_null() {
            return None;
        }
        // SAFETY: as in `record`.
        Some(((chunk_number << CHUNK_LOG2) as u32, unsafe { &*chunk }.as_slice()))
    }

    /// Number of chunks that cells below `cells` lie in.
    pub(super) const fn chunks_for(cells: u32) -> usize {
        (cells as usize).div_ceil(CHUNK_RECORDS)
    }

    #[cold]
    #[inline(never)]
    fn map_chunk(&self, cell: u32) -> Option<*mut Chunk> {
        let slot = &self.chunks[(cell >> CHUNK_LOG2) as usize];
        let fresh = memory::map_zeroed(size_of::<Chunk>())?;
        // Release: publishes the mapping; acquire on failure: the other one is used.
        match slot.compare_exchange(ptr::null_mut(), fresh.as_ptr().cast(), Ordering::Release, Ordering::Acquire) {
            Ok(_) => Some(fresh.as_ptr().cast()),
            Err(other) => {
                // SAFETY: just mapped and never published.
                unsafe { memory::unmap(fresh, size_of::<Chunk>()) };
                Some(other)
            }
        }
    }
}
