//! What one recorded block stands for.
//!
//! Sampling is a Poisson process on bytes with mean interval `R`: a block of `s` bytes is recorded with probability
//! `p = 1 - exp(-s / R)` and stands for `1 / p` blocks and `s / p` bytes (Horvitz and Thompson's estimator). Both are
//! functions of `s` and `R` alone, rounded once, so that what a free takes away is to the unit what its allocation added.

/// Block counts are kept in units of 1/1024 block.
pub(super) const BLOCK_UNITS: u64 = 1024;

/// A mean sampling interval; 0 means every block is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval(pub(super) u64);

/// The share of the totals that one recorded block carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Weight {
    /// In units of 1/1024 block.
    pub(super) block_units: u64,
    pub(super) bytes: u64,
}

impl Interval {
    pub(super) const EXACT: Self = Self(0);

    /// The weight of a recorded block of `size` bytes.
    #[inline(always)]
    pub(super) fn weight(self, size: usize) -> Weight {
        if self.0 == 0 { Weight { block_units: BLOCK_UNITS, bytes: size as u64 } } else { self.weight_sampled(size) }
    }

    #[cold]
    #[inline(never)]
    fn weight_sampled(self, size: usize) -> Weight {
        // A zero-size block is never recorded; one byte keeps the division defined.
        let probability = self.probability(size.max(1));
        Weight {
            block_units: (BLOCK_UNITS as f64 / probability).round() as u64,
            bytes: (size as f64 / probability).round() as u64,
        }
    }

    /// The probability that a block of `size` bytes is recorded.
    pub(super) fn probability(self, size: usize) -> f64 {
        if self.0 == 0 { 1.0 } else { -(-(size as f64) / self.0 as f64).exp_m1() }
    }

    /// Bytes until the next sample: exponentially distributed, at least 1.
    pub(super) fn next_gap(self, random: &mut Random) -> i64 {
        let gap = -random.unit().ln() * self.0 as f64;
        gap.clamp(1.0, 9e15) as i64
    }
}

/// xorshift64* (Marsaglia; Vigna 2016): eight bytes of state, good enough to spread samples.
#[derive(Debug, Default)]
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Uniform in (0, 1].
    pub(super) fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_counts_every_block_once() {
        assert_eq!(Interval::EXACT.weight(48), Weight { block_units: BLOCK_UNITS, bytes: 48 });
    }

    #[test]
    fn estimates_are_unbiased() {
        let interval = Interval(4096);
        for size in [16_usize, 300, 5_000] {
            let mut random = Random(0x5eed_0000_0000_0001 + size as u64);
            let (mut left, mut bytes, mut units) = (interval.next_gap(&mut random), 0_u64, 0_u64);
            let blocks = 4_000_000 / size as u64 * 20;
            for _ in 0..blocks {
                left -= size as i64;
                if left < 0 {
                    let weight = interval.weight(size);
                    bytes += weight.bytes;
                    units += weight.block_units;
                    left = interval.next_gap(&mut random);
                }
            }
            let bytes_ratio = bytes as f64 / (blocks * size as u64) as f64;
            let blocks_ratio = units as f64 / BLOCK_UNITS as f64 / blocks as f64;
            assert!((bytes_ratio - 1.0).abs() < 0.03, "{size}: bytes {bytes_ratio}");
            assert!((blocks_ratio - 1.0).abs() < 0.03, "{size}: blocks {blocks_ratio}");
        }
    }

    #[test]
    fn a_larger_block_never_stands_for_fewer_bytes() {
        let interval = Interval(512 << 10);
        let mut last = 0;
        for size in (1..4_000_000).step_by(997) {
            let bytes = interval.weight(size).bytes;
            assert!(bytes >= last);
            last = bytes;
        }
    }
}
