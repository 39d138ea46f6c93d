//! Pairs of freeing and allocating at the bottom of a stack that stays: the tight loop, the worst case there is.
//!
//! Parameters: `depth` frames above the loop besides those of the program itself, `slots` live blocks, `pairs` a region.

use super::slots::Slots;
use super::{Account, Workload, call_tree};
use crate::parameters::Parameters;

pub(super) struct Path {
    depth: u32,
    pairs: u64,
    slots: Slots,
}

impl Path {
    pub(super) fn new(parameters: &Parameters) -> Result<Self, String> {
        Ok(Self {
            depth: parameters.number("depth", 16)? as u32,
            pairs: parameters.scaled("pairs", 500_000)?,
            slots: Slots::new(parameters.number("slots", 4096)?),
        })
    }
}

impl Workload for Path {
    fn region(&mut self) -> Result<u64, String> {
        let (pairs, slots) = (self.pairs, &mut self.slots);
        call_tree::descend(0x1b, self.depth, &mut || {
            for _ in 0..pairs {
                slots.replace();
            }
        });
        Ok(pairs)
    }

    fn account(&self) -> Account {
        self.slots.account()
    }
}
