//! A lock-free, insert-only index from 64-bit hashes to entry numbers.
//!
//! Levels of growing size, each lazily mapped. A hash has one fixed probe sequence over all levels, entries are never
//! removed, and a new one takes the first empty slot of its sequence by compare-and-swap; so two threads that insert
//! the same key meet at the same slot, and one of them finds the other's entry. A slot holds the entry number plus one
//! and nine bits of the hash, so that a miss seldom looks at an entry.

use super::memory;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// Numbers are below this.
pub(super) const NUMBERS_MAX: u32 = (1 << NUMBER_BITS) - 1;
const NUMBER_BITS: u32 = 23;
const NUMBER_MASK: u32 = (1 << NUMBER_BITS) - 1;

/// Slots of a level, and how many are probed in it. Few levels, so that a look-up touches few cache lines; few probes in the
/// first ones, which are full in a large program and then only passed through.
const LEVELS: [Level; 4] = [
    Level { slots_log2: 10, window: 4 },
    Level { slots_log2: 15, window: 4 },
    Level { slots_log2: 20, window: 16 },
    Level { slots_log2: 24, window: 16 },
];

struct Level {
    slots_log2: u32,
    window: usize,
}

/// The index.
pub(super) struct Index {
    levels: [AtomicPtr<AtomicU32>; LEVELS.len()],
}

/// What `find_or_insert` came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The entry was there.
    Old(u32),
    /// The entry was made by this call.
    New(u32),
    /// No room, no memory, or `make` refused.
    Full,
}

impl Index {
    pub(super) const fn new() -> Self {
        Self { levels: [const { AtomicPtr::new(ptr::null_mut()) }; LEVELS.len()] }
    }

    /// Finds the entry of `hash` that `matches`, or inserts the number that `make` returns. `make` must have filled in
    /// the entry before it returns; it is called at most once, and its number is unused when another thread was first
    /// (then `Old` is returned).
    #[inline]
    pub(super) fn find_or_insert(
        &self,
        hash: u64,
        mut matches: impl FnMut(u32) -> bool,
        mut make: impl FnMut() -> Option<u32>,
    ) -> Found {
        let tag = (hash as u32) << NUMBER_BITS;
        let mut made: Option<u32> = None;
        for (level, shape) in LEVELS.iter().enumerate() {
            let Some(window) = self.window(level, hash) else { return Found::Full };
            // Begins anywhere in its window, so that in a level with room the first slot mostly decides.
            let start = (hash >> 9) as usize;
            for probe in 0..shape.window {
                let slot = &window[(start + probe) % shape.window];
                // Acquire: pairs with the release of the insertion, so the entry's contents are visible.
                let mut seen = slot.load(Ordering::Acquire);
                if seen == 0 {
                    let Some(number) = made.or_else(&mut make).filter(|number| *number < NUMBERS_MAX) else {
                        return Found::Full;
                    };
                    made = Some(number);
                    // Release: publishes the entry that `make` filled in.
                    match slot.compare_exchange(0, tag | (number + 1), Ordering::AcqRel, Ordering::Acquire) {
                        Ok(_) => return Found::New(number),
                        Err(other) => seen = other,
                    }
                }
                if seen & !NUMBER_MASK == tag {
                    // The low part is a number plus one, never zero.
                    let number = (seen & NUMBER_MASK).wrapping_sub(1);
                    if matches(number) {
                        return Found::Old(number);
                    }
                }
            }
        }
        Found::Full
    }

    #[inline(always)]
    fn window(&self, level: usize, hash: u64) -> Option<&[AtomicU32]> {
        let Level { slots_log2, window } = LEVELS[level];
        // Acquire: pairs with the publication of the level.
        let mut base = self.levels[level].load(Ordering::Acquire);
        if base.is_null() {
            base = self.map_level(level)?;
        }
        // The highest bits; the tag is made of the lowest.
        let first = (hash >> (64 - slots_log2)) as usize & !(window - 1);
        // SAFETY: the level holds `1 << slots_log2` zeroed atomics (a multiple of `window`) and is never unmapped; `first` is a
        // multiple of the window below that.
        Some(unsafe { std::slice::from_raw_parts(base.add(first), window) })
    }

    #[cold]
    fn map_level(&self, level: usize) -> Option<*mut AtomicU32> {
        let bytes = level_bytes(level);
        let fresh: NonNull<u8> = memory::map_zeroed(bytes)?;
        // Release: publishes the mapping; acquire on failure: the other thread's is used.
        match self.levels[level].compare_exchange(
            ptr::null_mut(),
            fresh.as_ptr().cast(),
            Ordering::Release,
            Ordering::Acquire,
        ) {
            Ok(_) => Some(fresh.as_ptr().cast()),
            Err(other) => {
                // SAFETY: just mapped and never published.
                unsafe { memory::unmap(fresh, bytes) };
                Some(other)
            }
        }
    }

    /// Bytes of the levels in use.
    pub(super) fn bytes(&self) -> usize {
        self.levels
            .iter()
            .enumerate()
            // Relaxed: a statistic.
            .filter(|(_, base)| !base.load(Ordering::Relaxed).is_null())
            .map(|(level, _)| level_bytes(level))
            .sum()
    }
}

const fn level_bytes(level: usize) -> usize {
    size_of::<AtomicU32>() << LEVELS[level].slots_log2
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{HashMap, HashSet};
    use std::sync::Mutex;
    use std::sync::atomic::AtomicU64;

    fn spread(n: u64) -> u64 {
        (n ^ 0x1234_5678).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }

    #[test]
    fn equals_a_hash_map_under_threads() {
        static INDEX: Index = Index::new();
        static KEYS: [AtomicU64; 60_000] = [const { AtomicU64::new(0) }; 60_000];
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let seen = Mutex::new(HashMap::<u64, HashSet<u32>>::new());
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let seen = &seen;
                scope.spawn(move || {
                    let mut mine = Vec::new();
                    for n in 0..10_000_u64 {
                        let key = spread((n * (thread + 1)) % 10_007);
                        let found = INDEX.find_or_insert(
                            key,
                            |number| KEYS[number as usize].load(Ordering::Relaxed) == key,
                            || {
                                let number = NEXT.fetch_add(1, Ordering::Relaxed);
                                KEYS[number as usize].store(key, Ordering::Relaxed);
                                Some(number)
                            },
                        );
                        match found {
                            Found::Old(number) | Found::New(number) => mine.push((key, number)),
                            Found::Full => panic!("60,000 entries fit"),
                        }
                    }
                    let mut seen = seen.lock().unwrap();
                    for (key, number) in mine {
                        seen.entry(key).or_default().insert(number);
                    }
                });
            }
        });
        let seen = seen.into_inner().unwrap();
        assert!(seen.values().all(|numbers| numbers.len() == 1), "a key got two numbers");
    }

    #[test]
    fn a_refused_entry_is_full_and_leaves_no_trace() {
        let index = Index::new();
        assert_eq!(index.find_or_insert(7, |_| true, || None), Found::Full);
        assert_eq!(index.find_or_insert(7, |_| true, || Some(3)), Found::New(3));
        assert_eq!(index.find_or_insert(7, |n| n == 3, || None), Found::Old(3));
    }
}
