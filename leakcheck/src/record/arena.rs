//! A growable array that never moves its entries and is read without locks.
//!
//! Chunks double in size, so an index is found with one count of leading zeros, and memory is at most twice what is
//! used (and untouched pages cost nothing).

use super::memory;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

const FIRST_CHUNK_LOG2: u32 = 10;
const CHUNKS: usize = 20;

/// Entries that all-zero bytes are a valid value of, and that are shared between threads.
///
/// # Safety
///
/// All-zero bytes must be a valid value, and the type must not need dropping.
pub(super) unsafe trait Zeroed: Sync {}

/// The array.
pub(super) struct Arena<T: Zeroed> {
    chunks: [AtomicPtr<T>; CHUNKS],
    len: AtomicU32,
    limit: u32,
    entries: PhantomData<T>,
}

impl<T: Zeroed> Arena<T> {
    /// An empty array of at most `limit` entries.
    pub(super) const fn new(limit: u32) -> Self {
        Self {
            chunks: [const { AtomicPtr::new(ptr::null_mut()) }; CHUNKS],
            len: AtomicU32::new(0),
            limit,
            entries: PhantomData,
        }
    }

    /// Number of entries handed out; some may still be being filled in.
    pub(super) fn len(&self) -> u32 {
        // Acquire: pairs with the release in `push`, so that the chunk of every entry below is visible.
        self.len.load(Ordering::Acquire).min(self.limit)
    }

    /// The entry at `index`, if that one was handed out.
    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<&T> {
        let (chunk, offset) = locate(index);
        // Acquire: pairs with the release that published the chunk.
        let base = NonNull::new(self.chunks.get(chunk)?.load(Ordering::Acquire))?;
        // SAFETY: the chunk holds `1 << (FIRST_CHUNK_LOG2 + chunk)` entries and `locate` keeps `offset` below that; the
        // mapping is zeroed, which `Zeroed` makes a valid value, and is never unmapped.
        Some(unsafe { base.add(offset).as_ref() })
    }

    /// A new zeroed entry; `None` at the limit or without memory.
    pub(super) fn push(&self) -> Option<(u32, &T)> {
        // Relaxed: the number alone is claimed here.
        let index = self.len.fetch_add(1, Ordering::AcqRel);
        if index >= self.limit {
            self.len.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let (chunk, _) = locate(index);
        self.ensure_chunk(chunk)?;
        Some((index, self.get(index)?))
    }

    /// Bytes of entries in use.
    pub(super) fn bytes(&self) -> usize {
        self.len() as usize * size_of::<T>()
    }

    fn ensure_chunk(&self, chunk: usize) -> Option<()> {
        let slot = self.chunks.get(chunk)?;
        // Acquire: pairs with the publication below.
        if !slot.load(Ordering::Acquire).is_null() {
            return Some(());
        }
        let bytes = size_of::<T>() << (FIRST_CHUNK_LOG2 as usize + chunk);
        let fresh = memory::map_zeroed(bytes)?;
        // Release: publishes the mapping; acquire on failure: another thread's chunk is used instead.
        if slot.compare_exchange(ptr::null_mut(), fresh.as_ptr().cast(), Ordering::Release, Ordering::Acquire).is_err()
        {
            // SAFETY: the mapping was just made and never published.
            unsafe { memory::unmap(fresh, bytes) };
        }
        Some(())
    }
}

/// Chunk and offset of an index.
#[inline]
const fn locate(index: u32) -> (usize, usize) {
    let shifted = index as u64 + (1 << FIRST_CHUNK_LOG2);
    let log2 = shifted.ilog2();
    ((log2 - FIRST_CHUNK_LOG2) as usize, (shifted - (1 << log2)) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    // SAFETY: zero is a valid AtomicU32.
    unsafe impl Zeroed for AtomicU32 {}

    #[test]
    fn indices_map_to_distinct_places_in_order() {
        let mut expected = (0, 0);
        for index in 0..100_000 {
            assert_eq!(locate(index), expected);
            expected.1 += 1;
            if expected.1 == 1 << (FIRST_CHUNK_LOG2 as usize + expected.0) {
                expected = (expected.0 + 1, 0);
            }
        }
    }

    #[test]
    fn threads_get_distinct_entries_up_to_the_limit() {
        static ARENA: Arena<AtomicU32> = Arena::new(10_000);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..3_000 {
                        if let Some((_, entry)) = ARENA.push() {
                            entry.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(ARENA.len(), 10_000);
        assert!((0..10_000).all(|i| ARENA.get(i).is_some_and(|e| e.load(Ordering::Relaxed) == 1)));
        assert!(ARENA.push().is_none());
    }
}
