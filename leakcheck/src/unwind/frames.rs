//! What a walk gives: its end, its hash, its frames.
//!
//! The running hash is a polynomial over the return addresses, outermost first, so that the hash of any window of frames follows
//! from two prefixes: dropping outer frames at the depth cap costs one multiplication, not a second pass.

use super::machine::{Span, code_address};

/// Why a walk ended where it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum End {
    /// At the outermost frame: the stack is whole.
    #[default]
    Root = 0,
    /// At the depth cap: outer frames are left out.
    DepthLimit = 1,
    /// At a code address without unwind information (generated code, a stripped module).
    NoRule = 2,
    /// At a frame that would lie outside readable stack memory.
    BadStack = 3,
    /// At a frame whose unwind information asks for what is not known or not supported.
    Unsupported = 4,
}

impl End {
    /// How many variants there are.
    pub const COUNT: usize = 5;
    /// All variants, in the order of [`Counters::ends`](super::Counters::ends).
    pub const ALL: [Self; Self::COUNT] =
        [Self::Root, Self::DepthLimit, Self::NoRule, Self::BadStack, Self::Unsupported];
}

/// One walk of the calling thread's stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// Hash of the return addresses, outermost first. Depends on nothing else.
    pub hash: u64,
    /// Frames of this walk.
    pub depth: u32,
    /// Inner frames that may differ from the previous walk of this thread; the other `depth - changed` are the same frames.
    pub changed: u32,
    /// Why the walk ended.
    pub end: End,
}

/// What a glance at a stack came to.
#[cfg_attr(
    not(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64"))),
    allow(dead_code, reason = "the portable walk recognises nothing")
)]
#[derive(Clone, Copy, Debug)]
pub struct Glanced {
    /// The hash of the stack, as a walk would give it.
    pub hash: Option<u64>,
    /// Kept frames that were found to hold: a walk of the same stack need not look again.
    pub(super) held: u32,
}

impl Glanced {
    /// Nothing is known of the stack.
    pub const NOTHING: Self = Self { hash: None, held: 0 };
}

/// By which of the layouts with one stack pointer a stack was recognised.
#[cfg_attr(
    not(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64"))),
    allow(dead_code, reason = "the portable walk recognises nothing")
)]
#[derive(Clone, Copy, Debug)]
pub struct Way(pub(super) usize);

/// One frame of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The return address: one past the call, or exact where a signal interrupted the function.
    pub address: usize,
    /// The hash of the frames from the outermost to this one; that of the innermost frame is [`Walk::hash`].
    pub hash: u64,
}

/// A word on the stack and the value it must have for a kept frame to still hold.
#[cfg_attr(
    not(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64"))),
    allow(dead_code, reason = "the portable walk keeps nothing to compare")
)]
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Word {
    pub(super) slot: usize,
    pub(super) value: usize,
}

/// The frames of the last walk.
#[derive(Clone, Copy)]
pub struct Frames<'a> {
    pub(super) words: &'a [Word],
    pub(super) prefixes: Prefixes<'a>,
    pub(super) before: u64,
}

/// Running hashes, one per frame, wherever the unwinder keeps them.
pub(super) type Prefixes<'a> = &'a [Prefix];

/// What is kept of a frame besides its slot and address.
#[cfg_attr(
    not(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64"))),
    allow(dead_code, reason = "the portable walk keeps nothing to compare")
)]
#[derive(Clone, Copy)]
pub(super) struct Prefix {
    pub(super) running: u64,
    pub(super) bp: usize,
    pub(super) span: Span,
    pub(super) dependencies: u32,
    pub(super) flags: u32,
}

impl Prefix {
    /// Before the outermost frame.
    pub(super) const NOTHING: Self = Self { running: 0, bp: 0, span: Span::NONE, dependencies: 0, flags: 0 };
}

impl<'a> Frames<'a> {
    /// How many frames there are.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The frame at `index`, counted from the outermost.
    pub fn get(&self, index: usize) -> Option<Frame> {
        let (word, prefix) = (self.words.get(index)?, self.prefixes.get(index)?);
        let hash = finish(window(prefix.running, self.before, index as u32 + 1));
        Some(Frame { address: code_address(word.value), hash })
    }

    /// All frames, outermost first; reverse it for leaf first.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = Frame> + ExactSizeIterator + use<'a> {
        (0..self.words.len()).map(move |index| {
            self.get(index).unwrap_or(Frame { address: 0, hash: 0 }) // In range: never the latter.
        })
    }

    /// The return addresses, outermost first.
    pub fn addresses(self) -> impl DoubleEndedIterator<Item = usize> + ExactSizeIterator + use<'a> {
        self.words.iter().map(|word| code_address(word.value))
    }
}

/// Odd, and 5 modulo 8, so that its powers differ as much as powers can modulo 2^64.
const BASE: u64 = 0x9e37_79b9_7f4a_7c15;

/// The running hash after one more inner frame.
#[inline(always)]
pub(super) fn extend(running: u64, address: usize) -> u64 {
    one_frame_in(running).wrapping_add(mix(address))
}

/// What older frames, or a factor of theirs, become by one more inner frame.
#[inline(always)]
pub(super) fn one_frame_in(running: u64) -> u64 {
    running.wrapping_mul(BASE)
}

/// What the address of a frame adds.
#[inline(always)]
pub(super) fn mix(address: usize) -> u64 {
    let mixed = (address as u64).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ (mixed >> 32)
}

/// The running hash of the last `depth` frames of `running`, where `before` is the running hash before them.
#[inline(always)]
pub(super) fn window(running: u64, before: u64, depth: u32) -> u64 {
    if before == 0 { running } else { running.wrapping_sub(before.wrapping_mul(BASE.wrapping_pow(depth))) }
}

/// Spreads a running hash over all bits.
#[inline(always)]
pub(super) fn finish(running: u64) -> u64 {
    let mixed = (running ^ (running >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ (mixed >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(addresses: &[usize]) -> u64 {
        addresses.iter().fold(0, |running, &address| extend(running, address))
    }

    #[test]
    fn a_window_hashes_like_its_frames_alone() {
        let addresses: Vec<usize> = (0..600).map(|n| 0x5555_0000_0000 + n * 37).collect();
        for (start, end) in [(0, 1), (1, 2), (0, 600), (100, 356), (599, 600)] {
            let whole = running(&addresses[..end]);
            let before = running(&addresses[..start]);
            assert_eq!(window(whole, before, (end - start) as u32), running(&addresses[start..end]));
        }
    }

    #[test]
    fn order_and_length_count() {
        let (a, b) = (0x5555_1234_5678, 0x7fff_f7a3_0010);
        let hashes = [running(&[a, b]), running(&[b, a]), running(&[a]), running(&[a, a]), running(&[a, b, b])];
        for (index, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..index].contains(hash));
        }
    }

    /// Recursive stacks differ in how often and where the same few addresses occur: the case that breaks weak hashes.
    #[test]
    fn similar_stacks_do_not_collide() {
        let addresses = [0x5555_5555_1000usize, 0x5555_5555_1040, 0x5555_5555_2040];
        let mut seen = std::collections::HashSet::new();
        for pattern in 0..3usize.pow(11) {
            let stack: Vec<usize> = (0..11).map(|place| addresses[pattern / 3usize.pow(place) % 3]).collect();
            assert!(seen.insert(finish(running(&stack))));
        }
    }
}
