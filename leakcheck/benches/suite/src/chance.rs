//! Numbers that look random and are the same in every run.

/// A generator of pseudo-random numbers (splitmix64).
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// The sequence that belongs to `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    #[inline]
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// The next number below `bound`, which is not zero.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        // The upper half of the product; uneven by less than `bound / 2^64`.
        ((u128::from(self.number()) * u128::from(bound)) >> 64) as u64
    }

    /// The size of a small block: 16 to 143 bytes.
    #[inline]
    pub fn small_size(&mut self) -> usize {
        16 + (self.number() & 127) as usize
    }
}

/// A number that depends on all bits of `number`.
#[inline]
#[must_use]
pub const fn mixed(number: u64) -> u64 {
    let mut z = number;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}
