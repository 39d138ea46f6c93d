//! Blocks that live in slots: each operation frees an old block and allocates a new one.

use super::Account;
use crate::chance::Chance;

/// A fixed number of slots, full of small blocks.
pub(super) struct Slots {
    blocks: Vec<Vec<u8>>,
    /// The bits that choose a place.
    places: u64,
    chance: Chance,
    /// Blocks put in so far.
    pairs: u64,
    allocated_bytes: u64,
    freed_bytes: u64,
}

impl Slots {
    pub(super) fn new(slots: u64) -> Self {
        let mut chance = Chance::new(7);
        let blocks = (0..slots).map(|_| block_at::<0>(chance.small_size())).collect();
        Self { blocks, places: 63, chance, pairs: 0, allocated_bytes: 0, freed_bytes: 0 }
    }

    /// The same, of which only so many places allocate.
    pub(super) fn at_places(self, places: u64) -> Self {
        Self { places: places.next_power_of_two() - 1, ..self }
    }

    /// Frees the block in a slot taken at random and allocates another, at one of 64 places taken at random.
    #[inline]
    pub(super) fn replace(&mut self) {
        let place = self.chance.number();
        self.replace_at(place);
    }

    /// The same at the place that the lowest six bits of `place` choose.
    #[inline]
    pub(super) fn replace_at(&mut self, place: u64) {
        let number = self.chance.number();
        let slot = (((number >> 32) * self.blocks.len() as u64) >> 32) as usize;
        let place = PLACES[(place & self.places & 63) as usize];
        let size = 16 + (number & 127) as usize;
        let old = &mut self.blocks[slot];
        self.freed_bytes += old.capacity() as u64;
        self.allocated_bytes += size as u64;
        self.pairs += 1;
        // First free, then allocate, so that memory is reused while it is warm.
        *old = Vec::new();
        *old = place(size);
    }

    /// Blocks put in so far, those it began with left out.
    pub(super) const fn pairs(&self) -> u64 {
        self.pairs
    }

    pub(super) fn account(&self) -> Account {
        Account {
            allocated_blocks: Some(self.pairs),
            allocated_bytes: Some(self.allocated_bytes),
            freed_blocks: Some(self.pairs),
            freed_bytes: Some(self.freed_bytes),
            balanced: true,
            ..Account::default()
        }
    }
}

/// A block of `size` bytes, allocated at a place of its own for each `PLACE`.
#[inline(never)]
fn block_at<const PLACE: u8>(size: usize) -> Vec<u8> {
    let mut block = Vec::with_capacity(size);
    // The constant also keeps the functions apart: the compiler merges equal ones.
    block.push(PLACE);
    block
}

macro_rules! places {
    ($($place:literal)*) => { [$(block_at::<$place>),*] };
}

/// Sixty-four places in the program that allocate.
const PLACES: [fn(usize) -> Vec<u8>; 64] = places!(
    0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
    32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63
);
