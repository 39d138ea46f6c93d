//! Pairs of freeing and allocating at the bottom of a stack that stays: the tight loop, the worst case there is.
//!
//! Parameters: `depth` frames above the loop besides those of the program itself, `slots` live blocks a thread,
//! `places` that allocate (1 to 64, a power of two), `threads` that do the same and share nothing, `pairs` a region
//! and thread.

use super::slots::Slots;
use super::{Account, Workload, call_tree};
use crate::parameters::Parameters;
use std::thread;

/// Blocks that starting a thread may take, with room to spare.
const STARTING_BLOCKS: u64 = 50;

pub(super) struct Path {
    depth: u32,
    pairs: u64,
    /// Those of each thread.
    slots: Vec<Slots>,
    regions: u64,
}

impl Path {
    pub(super) fn new(parameters: &Parameters) -> Result<Self, String> {
        let (slots, places) = (parameters.number("slots", 4096)?, parameters.number("places", 64)?);
        let threads = parameters.number("threads", 1)?.max(1);
        Ok(Self {
            depth: parameters.number("depth", 16)? as u32,
            pairs: parameters.scaled("pairs", 500_000)?,
            slots: (0..threads).map(|_| Slots::new(slots).at_places(places)).collect(),
            regions: 0,
        })
    }
}

fn work(depth: u32, pairs: u64, slots: &mut Slots) {
    call_tree::descend(0x1b, depth, &mut || {
        for _ in 0..pairs {
            slots.replace();
        }
    });
}

impl Workload for Path {
    fn region(&mut self) -> Result<u64, String> {
        let Self { depth, pairs, .. } = *self;
        match &mut self.slots[..] {
            [slots] => work(depth, pairs, slots),
            several => thread::scope(|scope| {
                for slots in several {
                    scope.spawn(move || work(depth, pairs, slots));
                }
            }),
        }
        self.regions += 1;
        Ok(pairs * self.slots.len() as u64)
    }

    fn account(&self) -> Account {
        let one = self.slots.iter().map(Slots::account).reduce(Account::plus).unwrap_or_default();
        let started = if self.slots.len() > 1 { self.slots.len() as u64 * self.regions } else { 0 };
        if started == 0 {
            return one;
        }
        Account { allocated_bytes: None, freed_bytes: None, slack_blocks: started * STARTING_BLOCKS, ..one }
    }
}
