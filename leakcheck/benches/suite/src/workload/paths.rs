//! Pairs of freeing and allocating, each after going down anew through a call tree: no two stacks need be equal.
//!
//! Parameters: `depth` frames in all besides those of the program itself, of which the `inner` ones are taken anew for
//! each pair; `paths` ways to choose from, each with its own stack, 0 for no limit but the tree's; `slots` live blocks;
//! `pairs` a region.

use super::slots::Slots;
use super::{Account, Workload, call_tree};
use crate::chance::{Chance, mixed};
use crate::parameters::Parameters;

pub(super) struct Paths {
    outer: u32,
    inner: u32,
    paths: u64,
    pairs: u64,
    chance: Chance,
    slots: Slots,
}

impl Paths {
    pub(super) fn new(parameters: &Parameters) -> Result<Self, String> {
        let depth = parameters.number("depth", 16)? as u32;
        let inner = parameters.number("inner", 8)? as u32;
        Ok(Self {
            outer: depth.checked_sub(inner).ok_or("inner frames are part of the depth")?,
            inner,
            paths: parameters.number("paths", 4096)?,
            pairs: parameters.scaled("pairs", 200_000)?,
            chance: Chance::new(11),
            slots: Slots::new(parameters.number("slots", 4096)?),
        })
    }
}

impl Workload for Paths {
    fn region(&mut self) -> Result<u64, String> {
        let Self { outer, inner, paths, pairs, ref mut chance, ref mut slots } = *self;
        call_tree::descend(0x1b, outer, &mut || {
            for _ in 0..pairs {
                let way = if paths == 0 { chance.number() } else { mixed(chance.below(paths) + 1) };
                call_tree::descend(way, inner, &mut || slots.replace_at(way >> 58));
            }
        });
        Ok(pairs)
    }

    fn account(&self) -> Account {
        self.slots.account()
    }
}
