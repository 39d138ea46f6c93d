//! A machine of which nothing is known: the `backtrace` crate walks its stacks.

/// Bits of the addresses that memory is given at unless others are asked for.
pub(crate) const ADDRESS_BITS: u32 = 48;

/// The code address in a word that holds a return address.
#[inline(always)]
pub(crate) const fn code_address(word: usize) -> usize {
    word
}

/// Nothing is kept of a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span;

impl Span {
    pub(crate) const NONE: Self = Self;
}
