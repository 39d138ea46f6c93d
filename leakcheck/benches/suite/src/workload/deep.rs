//! A deep recursion that allocates at each level on the way down, and frees on the way back.
//!
//! Parameters: `levels`, `dives` a region. An operation is a level.

use super::{Account, Workload};
use crate::parameters::Parameters;
use std::hint::black_box;

const BLOCK_BYTES: u64 = 48;

pub(super) struct Deep {
    levels: u64,
    dives: u64,
    blocks: u64,
}

impl Deep {
    pub(super) fn new(parameters: &Parameters) -> Result<Self, String> {
        Ok(Self { levels: parameters.number("levels", 10_000)?, dives: parameters.scaled("dives", 50)?, blocks: 0 })
    }
}

impl Workload for Deep {
    fn region(&mut self) -> Result<u64, String> {
        let levels = self.dives * self.levels;
        let sum: u64 = (0..self.dives).map(|_| dive(self.levels)).sum();
        self.blocks += levels;
        if sum == levels { Ok(levels) } else { Err(format!("came back from {sum} levels of {levels}")) }
    }

    fn account(&self) -> Account {
        Account {
            allocated_blocks: Some(self.blocks),
            allocated_bytes: Some(self.blocks * BLOCK_BYTES),
            freed_blocks: Some(self.blocks),
            freed_bytes: Some(self.blocks * BLOCK_BYTES),
            balanced: true,
            ..Account::default()
        }
    }
}

/// The number of levels below and with this one.
#[inline(never)]
fn dive(levels: u64) -> u64 {
    let mut block: Vec<u64> = Vec::with_capacity(BLOCK_BYTES as usize / 8);
    block.push(1);
    if levels > 1 {
        block.push(dive(levels - 1));
    }
    black_box(&mut block).iter().sum()
}
