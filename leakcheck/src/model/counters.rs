//! Counts of blocks and bytes.

use serde::{Deserialize, Serialize};

/// A number of blocks and the bytes in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Amount {
    /// Blocks.
    pub blocks: u64,
    /// Bytes, as the program asked for them (no padding, no allocator overhead).
    pub bytes: u64,
}

impl Amount {
    /// An amount of `blocks` and `bytes`.
    #[must_use]
    pub const fn new(blocks: u64, bytes: u64) -> Self {
        Self { blocks, bytes }
    }

    /// The sum of both, saturating.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self { blocks: self.blocks.saturating_add(other.blocks), bytes: self.bytes.saturating_add(other.bytes) }
    }

    /// `self` less `other`, zero where `other` is larger.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self { blocks: self.blocks.saturating_sub(other.blocks), bytes: self.bytes.saturating_sub(other.bytes) }
    }

    /// Whether both counts are zero.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.blocks == 0 && self.bytes == 0
    }
}

/// Cumulative counts of one site (or of all): they only rise.
///
/// A `realloc` keeps its block at the site of birth: growth adds to `allocated.bytes`, shrinking adds to
/// `freed.bytes`, and the block counts stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Everything allocated since the recording began.
    pub allocated: Amount,
    /// Everything freed since the recording began.
    pub freed: Amount,
    /// How often a block was resized by `realloc`.
    pub resized: u64,
}

impl Counters {
    /// What is allocated and not yet freed.
    #[must_use]
    pub const fn live(&self) -> Amount {
        self.allocated.minus(self.freed)
    }

    /// The sum of both.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            allocated: self.allocated.plus(other.allocated),
            freed: self.freed.plus(other.freed),
            resized: self.resized.saturating_add(other.resized),
        }
    }

    /// What was counted between `earlier` and `self`.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            allocated: self.allocated.minus(earlier.allocated),
            freed: self.freed.minus(earlier.freed),
            resized: self.resized.saturating_sub(earlier.resized),
        }
    }
}

/// The sizes a site asked for, in bytes. The mean is `allocated.bytes / allocated.blocks`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeSummary {
    /// The smallest block ever asked for here.
    pub smallest: u64,
    /// The largest block ever asked for here, growth by `realloc` included.
    pub largest: u64,
}

impl SizeSummary {
    /// The range that covers both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self { smallest: self.smallest.min(other.smallest), largest: self.largest.max(other.largest) }
    }
}
